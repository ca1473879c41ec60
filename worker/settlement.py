"""Brings every closing to its end: asks the rules what is to be sent now, and sends it, until the agent says closed.

Nothing is remembered that matters: what to do follows from the channel's row and the journal alone, each time anew.
So a reaction that failed, bounced or was cut off by a crash is simply made again, and always the right one.

The most urgent channel comes first. When any channel has changed, the order is made anew after each unit: a fraud
never waits for more than the unit in hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.agent.triggers import bytes_to_send, trigger_data
from shared.channels.closing import FraudProof, is_dishonest
from shared.channels.ledger import Meaning
from shared.channels.model import Channel, Status
from shared.channels.settling import deadline_s, loss, trigger_due
from shared.logs import get_logger
from shared.obyte.coins import BASE
from shared.obyte.composing import Output, data_message
from shared.obyte.errors import CompositionError, HubError
from shared.store import channels, journal
from worker.errors import PostingError
from worker.pacing import Backoff, Bell
from worker.wallet import Purpose, UnitOrder, Urgency

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from shared.channels.closing import Trigger
    from shared.store.database import Connection
    from worker.closing_watch import ClosingWatch
    from worker.guard import Guard
    from worker.hub_session import HubSession
    from worker.wallet import Wallet

logger = get_logger(__name__)

NEARLY_DUE_S = 60.0
"""Our idea of the ledger's time may be off by about this much: from here on the hub is asked often."""
_FAR_FROM_DUE = 12


@dataclass(frozen=True, slots=True)
class SettlementPace:
    """How often settlement looks and tries, in seconds."""

    round_s: float = 1.0
    ledger_time_s: float = 5.0
    """How often the ledger's time is asked for when the timeout of a closing of ours must be about to end."""
    margin_s: float = 1.0
    """Waited beyond the timeout."""
    retry_first_s: float = 1.0
    retry_longest_s: float = 10.0
    bounced_first_s: float = 2.0
    """A unit that did nothing has cost its fees and the agent's 10 000 bytes: the next one waits longer."""
    bounced_longest_s: float = 300.0


@dataclass(slots=True)
class _Attempts:
    """When the next attempt for one purpose may be made."""

    purpose: Purpose
    after_failure: Backoff
    after_bounce: Backoff
    not_before_s: float = 0.0
    made: int = 0


class Settlement:
    """Settlement of one term of the lease. `on_posted` is told which channel's unit the hub has taken.

    Two clocks: `clock` is the ledger's time as well as we know it, monotonic seconds are for pauses.
    """

    def __init__(  # noqa: PLR0913 - the clocks and the randomness are injected
        self,
        guard: Guard,
        session: HubSession,
        wallet: Wallet,
        watch: ClosingWatch,
        *,
        on_posted: Callable[[str | None], None],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
        pace: SettlementPace,
    ) -> None:
        self._guard = guard
        self._session = session
        self._wallet = wallet
        self._on_posted = on_posted
        self._clock = clock
        self._monotonic = monotonic
        self._jitter = jitter
        self._pace = pace
        self._watch = watch
        self._bell = Bell()
        self._unsettled: set[str] = set()
        # Kept apart from the set a round works on: a change in mid-round is never mistaken for what the round has read.
        self._changed: set[str] = set()
        self._attempts: dict[str, _Attempts] = {}
        self._ledger_time_s = 0.0
        self._ledger_time_asked_s = -math.inf

    def look_at(self, aa_address: str) -> None:
        """The channel has changed: see at once whether it needs something."""
        self._changed.add(aa_address)
        self._bell.ring()

    def wake(self) -> None:
        """Do the next round now."""
        self._bell.ring()

    async def run(self, stopping: asyncio.Event) -> None:
        """Settle until `stopping` is set; a step in hand is finished first. Raises StoreError."""
        await self._find_unsettled()
        while not stopping.is_set():
            await self._round(stopping)
            await self._bell.sleep(self._pace.round_s)

    async def _find_unsettled(self) -> None:
        async with self._guard.reading() as conn:
            last = ""
            while page := await channels.to_watch(conn, last):
                found = await channels.find(conn, page)
                self._changed.update(address for address, stored in found.items() if _is_unsettled(stored.channel))
                last = page[-1]

    async def _round(self, stopping: asyncio.Event) -> None:
        self._unsettled |= self._changed
        self._changed.clear()
        async with self._guard.reading() as conn:
            known = await channels.find(conn, self._unsettled)
        unsettled = [stored.channel for stored in known.values() if _is_unsettled(stored.channel)]
        settled = self._unsettled.difference(channel.aa_address for channel in unsettled)
        self._unsettled -= settled
        for aa_address in settled:
            self._attempts.pop(aa_address, None)
        attempts = {aa_address: attempts.made for aa_address, attempts in self._attempts.items()}
        # Before anything that needs the hub: a deadline comes near whether or not there is one.
        self._watch.look(unsettled, now_s=self._clock(), attempts=attempts)
        try:
            await self._wallet.resume()
        except PostingError:
            return  # no connection to the hub: it will be back, and every channel is still unsettled then
        await self._settle_in_order(unsettled, stopping)

    async def _settle_in_order(self, unsettled: list[Channel], stopping: asyncio.Event) -> None:
        async with self._guard.reading() as conn:
            on_their_way = await journal.on_their_way(conn)
        for channel in sorted(unsettled, key=_urgent_first):
            if stopping.is_set():
                return
            if any((channel.aa_address, channel.period, meaning) in on_their_way for meaning in _ends(channel)):
                continue
            if await self._settle(channel) and self._changed:
                return  # something more urgent may have come up; the others are still unsettled

    async def _settle(self, seen: Channel) -> bool:
        """Send what the channel needs now; `seen` is the channel without its claim. Returns whether it was tried."""
        if seen.status is Status.CLOSING_BY_ME:
            await self._ask_ledger_time(seen)
        # Without its claim no proof can be made of it; what else nothing has to be sent for is not even locked: peers
        # can make thousands of closings that are left to them.
        if self._wanted(seen) is None and not is_dishonest(seen):
            return False
        async with self._guard.transaction() as conn:
            channel = await channels.lock_one(conn, seen.aa_address)
        trigger = None if channel is None else self._wanted(channel)
        if channel is None or trigger is None:
            return False
        purpose = Purpose(trigger.meaning.value, seen.aa_address, trigger.period)
        attempts = self._attempts_for(purpose)
        if self._monotonic() < attempts.not_before_s:
            return False
        try:
            unit = await self._wallet.post(await self._order(purpose, channel, trigger))
        except PostingError as error:
            pause_s = attempts.after_failure.pause_s()
            logger.warning(
                "trigger_not_posted",
                aa_address=purpose.aa_address,
                purpose=purpose.meaning,
                period=purpose.period,
                code=error.code,
                reason=str(error),
                retry_in_s=round(pause_s, 1),
            )
        else:
            # If the ledger takes it, this was the last attempt. If it bounces, the next one is not made at once.
            pause_s = attempts.after_bounce.pause_s() if unit is not None else 0.0
            self._on_posted(purpose.aa_address)
        attempts.made += 1
        attempts.not_before_s = self._monotonic() + pause_s
        return True

    async def _ask_ledger_time(self, channel: Channel) -> None:
        """The agent compares with the timestamp of a unit that will be at least as late as one made now."""
        due_s = (channel.close_started_at_s or 0) + channel.timeout_s
        is_near = self._clock() + NEARLY_DUE_S >= due_s
        interval_s = self._pace.ledger_time_s * (1 if is_near else _FAR_FROM_DUE)
        if self._monotonic() < self._ledger_time_asked_s + interval_s:
            return
        self._ledger_time_asked_s = self._monotonic()
        try:
            parents = await self._session.client.get_parents(
                witnesses=self._session.op_list,
                from_addresses=[self._wallet.address],
                output_addresses=[self._wallet.address],
                now_s=self._clock(),
            )
        except (HubError, CompositionError) as error:
            logger.warning("ledger_time_unknown", code=error.code, reason=str(error))
            return
        self._ledger_time_s = parents.timestamp_s

    def _wanted(self, channel: Channel) -> Trigger | None:
        return trigger_due(
            channel,
            ledger_time_s=self._ledger_time_s,
            margin_s=self._pace.margin_s,
            confirm_from=self._watch.limits.confirm_from,
        )

    async def _order(self, purpose: Purpose, channel: Channel, trigger: Trigger) -> UnitOrder:
        async with self._guard.reading() as conn:
            failed = await journal.failed_for(
                conn, purpose.meaning, aa_address=purpose.aa_address, period=purpose.period, reference=purpose.reference
            )
        amount = bytes_to_send(channel, trigger, [entry.error for entry in failed])

        async def is_wanted(conn: Connection) -> bool:
            locked = await channels.lock_one(conn, channel.aa_address)
            return locked is not None and self._wanted(locked) == trigger

        is_defence = isinstance(trigger, FraudProof) or self._watch.is_near(channel, self._clock())
        return UnitOrder(
            purpose=purpose,
            payments=(Output(channel.aa_address, amount),),
            messages=(data_message(trigger_data(trigger)),),
            is_wanted=is_wanted,
            urgency=Urgency.DEFENCE if is_defence else Urgency.SETTLING,
            at_stake=loss(channel) if channel.asset == BASE else None,
        )

    def _attempts_for(self, purpose: Purpose) -> _Attempts:
        aa_address = purpose.aa_address or ""
        attempts = self._attempts.get(aa_address)
        if attempts is None or attempts.purpose != purpose:
            pace = self._pace
            attempts = _Attempts(
                purpose,
                after_failure=Backoff(pace.retry_first_s, pace.retry_longest_s, self._jitter),
                after_bounce=Backoff(pace.bounced_first_s, pace.bounced_longest_s, self._jitter),
            )
            self._attempts[aa_address] = attempts
        return attempts


def _urgent_first(channel: Channel) -> tuple[bool, float, str]:
    """Order frauds first, then the peer's closings by their deadlines, then the rest."""
    return not is_dishonest(channel), deadline_s(channel) or math.inf, channel.aa_address


def _ends(channel: Channel) -> tuple[Meaning, ...]:
    """Return what a unit may mean that ends the state the channel is in."""
    match channel.status:
        case Status.CLOSING_BY_PEER:
            return (Meaning.CONFIRM, Meaning.FRAUD_PROOF)
        case Status.CLOSING_BY_ME:
            return (Meaning.CONFIRM,)
        case _:
            return (Meaning.CLOSE,)


def _is_unsettled(channel: Channel) -> bool:
    """Whether the channel needs us: it is closing, or we have ordered it closed."""
    return channel.is_closing or (channel.status is Status.OPEN and channel.period_closed_by_me == channel.period)
