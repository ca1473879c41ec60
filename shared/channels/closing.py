"""Closing a channel: what to send to the agent, and when.

    status             condition                                     we send
    OPEN               we ordered the period closed                  close: the claim, the excess credit given back
    CLOSING_BY_PEER    the peer's closing admits all he has signed   confirm, giving back what was never credited
    CLOSING_BY_PEER    it admits less than he has signed             fraud proof with the claim
    CLOSING_BY_ME      the timeout (and a margin) has passed         confirm

In a period that is unsure (the database was restored) we never close: `transferred_from_me` could be less than we have
signed, which the peer could prove to be fraud. A closing of the peer is answered, and nothing is given back in it: what
seems never credited may have been credited after the moment that the database was restored to.

`next_trigger` is asked again and again until the agent has said `closed`; it always gives the right answer for the
state as it is, so a failed attempt is never followed by a wrong one. A dishonest closing is never confirmed by us.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from shared.channels.errors import NotClosableError
from shared.channels.ledger import Meaning
from shared.channels.model import Channel, Status, as_agents_count


@dataclass(frozen=True, slots=True)
class Close:
    """`data` of a unit that closes the period.

    `transferred_from_me` is what we have signed plus the peer's excess credit, which closing gives back.
    """

    period: int
    transferred_from_me: int
    claim: str | None = field(repr=False)
    meaning: Meaning = Meaning.CLOSE


@dataclass(frozen=True, slots=True)
class Confirm:
    """`data` of a unit that confirms a closing; `additional_from_me` moves from us to the peer on top."""

    period: int
    additional_from_me: int
    meaning: Meaning = Meaning.CONFIRM


@dataclass(frozen=True, slots=True)
class FraudProof:
    """`data` of a unit that proves a dishonest closing and takes the whole channel."""

    period: int
    claim: str = field(repr=False)
    meaning: Meaning = Meaning.FRAUD_PROOF


Trigger = Close | Confirm | FraudProof


def order_close(channel: Channel, *, peer_is_closing: bool = False) -> tuple[Channel, Close]:
    """Decide to close the current period: nothing more is accepted in it, and the best claim is chosen.

    Both happen under the row lock that payments take, so the claim is at least as great as every receipt given.
    `peer_is_closing`: an unconfirmed unit of the peer closes already. Raises NotClosableError.
    """
    if channel.status is not Status.OPEN:
        raise NotClosableError(f"only an open channel can be closed, this one is {channel.status}")
    if channel.period_closed_by_me == channel.period:
        raise NotClosableError("this period was closed by me already")
    if peer_is_closing:
        raise NotClosableError("the peer is closing the channel")
    if channel.is_unsure:
        raise NotClosableError("the database was restored: what was signed in this period is not surely known")
    closed = replace(channel, period_closed_by_me=channel.period)
    return closed, closing_claim(closed)


def closing_claim(channel: Channel) -> Close:
    """What our closing of the current period says: it admits all that we signed and returns the excess credit."""
    return Close(
        period=channel.period,
        transferred_from_me=channel.spent_by_me + channel.credit,
        claim=channel.claim if channel.spent_by_peer else None,
    )


def is_dishonest(channel: Channel) -> bool:
    """Whether the peer's closing claims less than he has signed, as the agent counts.

    A smaller difference could never be proved: each attempt would only cost what a unit costs.
    """
    return (
        channel.status is Status.CLOSING_BY_PEER
        and channel.claimed_by_peer is not None
        and channel.claimed_by_peer < as_agents_count(channel.spent_by_peer)
    )


def next_trigger(channel: Channel, *, ledger_time_s: float, margin_s: float = 0) -> Trigger | None:
    """What has to be sent now to bring a closing to its end, or None while there is nothing to do but wait.

    `ledger_time_s` is the time of the last stable main chain unit (the agent's clock); `margin_s` is added to the
    timeout because the trigger runs a little later than it is sent, never earlier.
    """
    match channel.status:
        case Status.OPEN if channel.period_closed_by_me == channel.period and not channel.is_unsure:
            return closing_claim(channel)
        case Status.CLOSING_BY_PEER:
            if is_dishonest(channel):
                return None if channel.claim is None else FraudProof(period=channel.period, claim=channel.claim)
            return Confirm(period=channel.period, additional_from_me=_never_credited(channel))
        case Status.CLOSING_BY_ME if channel.close_started_at_s is not None:
            if ledger_time_s < channel.close_started_at_s + channel.timeout_s + margin_s:
                return None
            return Confirm(period=channel.period, additional_from_me=0)
        case _:
            return None


def _never_credited(channel: Channel) -> int:
    """What the peer's honest closing gives us beyond the payments we have credited.

    Besides unused credit this is a package that he counted as spent and that never reached us. We gave nothing for
    it, and no more packages are taken, so it is his. When our books are old we cannot tell it from what we gave for.
    """
    if channel.is_unsure:
        return 0
    claimed = channel.spent_by_peer if channel.claimed_by_peer is None else channel.claimed_by_peer
    return max(0, claimed - (channel.spent_by_peer - channel.credit))
