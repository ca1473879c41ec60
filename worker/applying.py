"""One channel's news into the database: everything or nothing, under the channel's lock and the lease."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeGuard

from shared.agent.triggers import read_peer_trigger
from shared.channels.doubt import unsure_period
from shared.channels.errors import ContradictoryEventError, EventGapError
from shared.channels.exposure import stolen
from shared.channels.ledger import Closed, Closing, LedgerEvent, Meaning, Opened, Refused, apply, deposit_in, undo
from shared.channels.model import MAX_AMOUNT, Channel, PeerUnit, Status, as_agents_count
from shared.store import channels, deposits, instance, journal, ledger_events, peer_units, refills, robberies
from shared.store.deposits import DepositState
from shared.store.ledger_events import EventKind, RecordedEvent
from shared.store.robberies import Robbery
from worker.telling import told

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from shared.agent.responses import Response
    from shared.obyte.history import ProvenUnit
    from shared.store.database import Connection
    from shared.store.journal import Entry
    from worker.news import News


@dataclass(slots=True)
class Applied:
    """What the news did to a channel."""

    channel: Channel
    responses: list[Response] = field(default_factory=list)
    """Events that were new, in order."""
    bounced: dict[str, str] = field(default_factory=dict)
    """Units of ours that did nothing, and why."""
    void: list[str] = field(default_factory=list)
    """Units of ours that never became part of the ledger."""
    peer_units_changed: bool = False
    unknown_promise: Closing | None = None
    """A closing of the peer with a package of ours for more than we know to have signed."""
    robberies: list[Robbery] = field(default_factory=list)
    """Periods among the events that were ended by a fraud proof which was not ours."""
    obstacle: EventGapError | ContradictoryEventError | None = None
    """Why the events after the last one in `responses` were not applied."""

    @property
    def has_changed(self) -> bool:
        """Whether there is anything to tell others."""
        return bool(self.responses or self.bounced or self.void or self.peer_units_changed)


def advance(channel: Channel, responses: Iterable[Response]) -> Applied:
    """Apply those events that are new, as far as they follow from the state; pure."""
    applied = Applied(channel)
    for response in responses:
        if response.event.event_id <= applied.channel.last_event_id:
            continue
        before = applied.channel
        try:
            applied.channel = apply(before, response.event)
        except (EventGapError, ContradictoryEventError) as error:
            applied.obstacle = error
            break
        if _shows_unknown_promise(response.event, before):
            applied.unknown_promise = response.event
        if (amount := stolen(before, response.event)) is not None:
            applied.robberies.append(_robbery(before, response, amount))
        applied.responses.append(response)
    return applied


def may_be_robbed(channel: Channel, responses: Iterable[Response]) -> bool:
    """Whether a robbery may be among the new events."""
    return any(
        isinstance(response.event, Closed) and response.event.by_fraud_proof and not response.event.received
        for response in responses
        if response.event.event_id > channel.last_event_id
    )


async def apply_news(
    conn: Connection,
    channel: Channel,
    news: News,
    *,
    ours: Sequence[Entry],
    asked: Collection[str],
    verified: Collection[str],
) -> Applied:
    """Apply news to a channel that was locked by `channels.lock_one` in this transaction.

    `ours`: our own units to the channel whose fate was open when the hub was asked. `asked`: units that the hub was
    asked for by their hash, so that not telling of them means not knowing them. `verified`: unstable units whose
    author signatures were checked; others are not believed. Where `may_be_robbed` says so, the peer was locked by
    `robberies.lock_peer` before the channel.
    """
    applied = advance(channel, news.responses)
    for response in applied.responses:
        is_ours = await _settle_deposit(conn, response, channel.aa_address)
        tells = told(response.event, channel, unit=response.unit, is_ours=is_ours)
        await ledger_events.append(conn, _recorded(response, channel.aa_address), tells)
    if any(isinstance(response.event, Closed) and response.event.by_fraud_proof for response in applied.responses):
        # Whoever has robbed us with agent 1.1, or tried to lie, would do so with every further deposit.
        await refills.switch(conn, channel.aa_address, None)
    for robbery in applied.robberies:
        await robberies.record(conn, robbery)
    await _resolve_journal(conn, applied, news, ours, asked)
    if applied.responses and (channel.unsure_period or not channel.last_event_id):
        await _doubt(conn, applied)
    if applied.channel != channel:
        await channels.save_transition(conn, applied.channel)
    await _follow_peer_units(conn, applied, news, ours, asked, verified)
    return applied


def _robbery(before: Channel, response: Response, amount: int) -> Robbery:
    return Robbery(
        aa_address=before.aa_address,
        period=before.period,
        peer_address=before.peer_address,
        asset=before.asset,
        amount=amount,
        unit=response.unit,
    )


def _shows_unknown_promise(event: LedgerEvent, before: Channel) -> TypeGuard[Closing]:
    """Whether the agent has verified a signature of ours, under more than we know, in a period that is not unsure."""
    return (
        isinstance(event, Closing)
        and not event.by_me
        and event.spent_by_me > as_agents_count(before.spent_by_me)
        and not before.is_unsure
    )


async def _doubt(conn: Connection, applied: Applied) -> None:
    """Find out whether the channel's current period is unsure, now that its events are on record.

    Asked about a channel that was unsure before, and about one that is read for the first time: before a restore it may
    have been known and used.
    """
    channel = applied.channel
    known = await instance.began_at(conn, channel.aa_address, channel.current_period)
    period = 0
    if known is not None:
        period = unsure_period(
            channel,
            began_at_s=known.began_at_s,
            read_until_s=known.read_until_s,
            restored_at_s=known.restored_at_s,
        )
    applied.channel = replace(channel, unsure_period=period)


async def _settle_deposit(conn: Connection, response: Response, aa_address: str) -> bool:
    """Record what the agent did with a deposit; return whether it is one of ours."""
    if isinstance(response.event, Opened):
        return await deposits.settle(conn, aa_address, response.event.trigger_unit, DepositState.CONFIRMED)
    if isinstance(response.event, Refused):
        return await deposits.settle(conn, aa_address, response.event.trigger_unit, DepositState.REFUSED)
    return False


async def _resolve_journal(
    conn: Connection, applied: Applied, news: News, ours: Sequence[Entry], asked: Collection[str]
) -> None:
    """Learn what became of our own units: answered, turned down, void, or overtaken by the end of the period."""
    answered = {response.trigger_unit for response in news.responses}
    for entry in ours:
        is_over = _is_over(entry, applied.channel)
        if entry.unit in answered or (is_over and entry.unit in news.stable and entry.unit not in news.bounced):
            await journal.stable(conn, entry.unit)
        elif entry.unit in news.bounced:
            if await _undo(conn, applied, entry, news.bounced[entry.unit]):
                applied.bounced[entry.unit] = news.bounced[entry.unit]
        elif entry.unit in news.void:
            if await _undo(conn, applied, entry, "the unit lost to a conflicting one"):
                applied.void.append(entry.unit)
        elif is_over and entry.unit in asked and entry.unit not in news.told:
            await _undo(conn, applied, entry, "the period ended before the unit arrived")
            applied.void.append(entry.unit)


async def _undo(conn: Connection, applied: Applied, entry: Entry, reason: str) -> bool:
    """Record that a unit of ours did nothing, and undo what it meant; False if its fate was known already."""
    if not await journal.failed(conn, entry.unit, reason):
        return False
    applied.channel = undo(applied.channel, Meaning(entry.purpose), period=entry.period or 0)
    return True


def _is_over(entry: Entry, channel: Channel) -> bool:
    """Whether nothing that the unit was to do in its period can be done any more."""
    if entry.purpose == Meaning.DEPOSIT or entry.period is None:
        return False
    return channel.period > entry.period or (channel.period == entry.period and channel.status is Status.CLOSED)


async def _follow_peer_units(
    conn: Connection,
    applied: Applied,
    news: News,
    ours: Sequence[Entry],
    asked: Collection[str],
    verified: Collection[str],
) -> None:
    channel = applied.channel
    known = {unit.unit: unit for unit in (await peer_units.of(conn, [channel.aa_address])).get(channel.aa_address, ())}
    # Where there is no agent, nobody ever answers a closing.
    has_agent = (
        channel.definition_confirmed
        or any(unit.publishes_definition or unit.amount for unit in known.values())
        or any(entry.purpose == Meaning.DEPOSIT for entry in ours)
    )
    current = {unit.unit_hash: seen for unit in news.unstable if (seen := _seen(unit, channel, verified)) is not None}
    answered = {response.trigger_unit for response in news.responses}
    for unit, old in known.items():
        is_gone = (
            unit in answered
            or unit in news.void
            or unit in news.bounced
            or (unit in news.stable and not old.amount and not (old.closes and has_agent))
            or (unit in asked and unit not in news.told)
        )
        # A unit that was caught conflicting stays marked, whatever it says.
        is_different = (
            not old.is_bad
            and unit in current
            and (current[unit].amount, current[unit].closes) != (old.amount, old.closes)
        )
        if is_gone or is_different:
            await peer_units.remove(conn, channel.aa_address, unit)
            applied.peer_units_changed = True
        if not is_different:
            current.pop(unit, None)
    for unit, seen in current.items():
        await peer_units.add(
            conn,
            channel.aa_address,
            unit,
            amount=seen.amount,
            closes=seen.closes,
            publishes_definition=seen.publishes_definition,
        )
        applied.peer_units_changed = True


def _seen(unit: ProvenUnit, channel: Channel, verified: Collection[str]) -> PeerUnit | None:
    """Return what an unstable unit of the peer means while it is on its way; None if nothing."""
    trigger = read_peer_trigger(unit.unit, channel)
    if trigger is None or unit.unit_hash not in verified:
        return None
    amount = min(deposit_in(channel, trigger), MAX_AMOUNT)
    if not (amount or trigger.closes or trigger.publishes_definition):
        return None
    return PeerUnit(
        unit=unit.unit_hash,
        first_seen_s=0,
        amount=amount,
        closes=trigger.closes,
        publishes_definition=trigger.publishes_definition,
    )


def _recorded(response: Response, aa_address: str) -> RecordedEvent:
    event = response.event
    match event:
        case Opened():
            kind = EventKind.OPENED
        case Refused():
            kind = EventKind.REFUSED
        case Closing():
            kind = EventKind.CLOSING
        case Closed():
            kind = EventKind.CLOSED
    return RecordedEvent(
        aa_address=aa_address,
        event_id=event.event_id,
        kind=kind,
        period=None if isinstance(event, Refused) else event.period,
        unit=response.unit,
        payload=response.payload,
        mci=response.mci,
        unit_timestamp_s=response.unit_timestamp_s,
    )
