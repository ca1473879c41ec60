"""What each ledger event does to a channel.

The agent answers every accepted trigger with a response unit that carries a number (`event_id`) and the new
totals. Only responses proven stable may be made into these events, and only in the order of their numbers: the
state after any number of replays of the same history is the same.

Source of the rule: the data payloads of the channels agent 1.1. Its totals are absolute, so a deposit is never
added up here and cannot be counted twice.

    event     the agent says                        the channel becomes
    Opened    a deposit was taken                   OPEN, balances as told
    Refused   a deposit came too late               unchanged (the money goes back)
    Closing   a party has closed with these claims  CLOSING_BY_ME or CLOSING_BY_PEER
    Closed    the money was paid out                CLOSED, everything of the period is zero
    a bounce  the trigger did nothing               what the trigger of ours meant is undone
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from shared.channels.errors import ContradictoryEventError, EventGapError
from shared.channels.model import MIN_BASE_DEPOSIT, Channel, Status


@dataclass(frozen=True, slots=True)
class Opened:
    """A deposit was taken; balances are totals of the period."""

    event_id: int
    period: int
    balance_of_peer: int
    balance_of_me: int
    trigger_unit: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A deposit reached the agent while the channel was closing and was sent back."""

    event_id: int
    trigger_unit: str


@dataclass(frozen=True, slots=True)
class Closing:
    """A party has closed. The two amounts are what the closing claims each side has spent."""

    event_id: int
    period: int
    by_me: bool
    spent_by_peer: int
    spent_by_me: int
    timestamp_s: int
    trigger_unit: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The period is over and its money was paid out."""

    event_id: int
    period: int
    by_fraud_proof: bool
    received: int
    """What the paying-out unit pays to our address, in the channel's asset."""


LedgerEvent = Opened | Refused | Closing | Closed


class Meaning(StrEnum):
    """What a trigger unit of ours was sent for; undone if it bounces."""

    DEPOSIT = "deposit"
    CLOSE = "close"
    CONFIRM = "confirm"
    FRAUD_PROOF = "fraud_proof"


def apply(channel: Channel, event: LedgerEvent) -> Channel:
    """Return the channel after the event; an event that was applied before changes nothing.

    Raises EventGapError when an earlier event is missing, ContradictoryEventError when the event cannot follow
    from the state (the state is then wrong and must be rebuilt from the ledger).
    """
    if event.event_id <= channel.last_event_id:
        return channel
    if event.event_id != channel.last_event_id + 1:
        raise EventGapError(f"event_id {event.event_id} follows {channel.last_event_id}")
    seen = replace(channel, last_event_id=event.event_id, definition_confirmed=True)
    match event:
        case Opened():
            return _opened(seen, event)
        case Closing():
            return _closing(seen, event)
        case Closed():
            return _closed(seen, event)
        case Refused():
            return seen


def undo(channel: Channel, meaning: Meaning, *, period: int) -> Channel:
    """Return the channel after a trigger of ours bounced or became void: what it meant never happened."""
    if meaning is Meaning.CLOSE and channel.period_closed_by_me == period and not channel.is_closing:
        return replace(channel, period_closed_by_me=0)
    return channel


@dataclass(frozen=True, slots=True)
class SeenTrigger:
    """An unconfirmed unit of the peer to the agent, reduced to what decides its meaning.

    `bytes_to_agent` and `asset_to_agent` are sums over the outputs to the agent in bytes and in the channel's
    *own* asset only: outputs in other assets must not be added up. `pays_others`: somebody besides the agent and the
    unit's authors is paid.
    """

    bytes_to_agent: int
    asset_to_agent: int
    has_data: bool
    closes: bool
    publishes_definition: bool
    pays_others: bool = False


def deposit_in(channel: Channel, trigger: SeenTrigger) -> int:
    """How much the peer's unconfirmed unit will deposit if it becomes stable as it is; 0 if it is no deposit.

    Conservative where the agent is not: a unit that carries data counts for nothing, whatever it pays. Nor does one
    that pays others: if one of them is an agent too, and comes first, the network lets that one answer and returns the
    deposit. Whoever has given goods for it then has nothing.
    """
    if (
        trigger.has_data
        or trigger.pays_others
        or channel.is_closing
        or not (channel.definition_confirmed or trigger.publishes_definition)
    ):
        return 0
    if channel.asset == "base":
        return trigger.bytes_to_agent if trigger.bytes_to_agent >= MIN_BASE_DEPOSIT else 0
    return trigger.asset_to_agent if trigger.bytes_to_agent >= MIN_BASE_DEPOSIT - 1 else 0


def _opened(channel: Channel, event: Opened) -> Channel:
    if channel.is_closing:
        raise ContradictoryEventError("the agent took a deposit while the channel is closing")
    if event.period != channel.current_period:
        raise ContradictoryEventError(f"opened in period {event.period}, expected {channel.current_period}")
    return replace(
        channel,
        status=Status.OPEN,
        period=event.period,
        deposited_by_peer=event.balance_of_peer,
        deposited_by_me=event.balance_of_me,
    )


def _closing(channel: Channel, event: Closing) -> Channel:
    # From the second period on the agent lets a party close before anyone has deposited; in the first it bounces that.
    never_opened = channel.status is Status.CLOSED and channel.period == 0
    if channel.is_closing or never_opened or event.period != channel.current_period:
        raise ContradictoryEventError(f"closing of period {event.period} while {channel.status} in {channel.period}")
    return replace(
        channel,
        period=event.period,
        status=Status.CLOSING_BY_ME if event.by_me else Status.CLOSING_BY_PEER,
        close_started_at_s=event.timestamp_s,
        claimed_by_peer=None if event.by_me else event.spent_by_peer,
    )


def _closed(channel: Channel, event: Closed) -> Channel:
    if not channel.is_closing or event.period != channel.period:
        raise ContradictoryEventError(f"closed period {event.period} while {channel.status} in {channel.period}")
    return replace(
        channel,
        status=Status.CLOSED,
        deposited_by_peer=0,
        deposited_by_me=0,
        spent_by_peer=0,
        spent_by_me=0,
        credit=0,
        claim=None,
        close_started_at_s=None,
        claimed_by_peer=None,
    )
