"""Brings every closing to its end: asks the rules what is to be sent now, and sends it, until the agent says closed.

Nothing is remembered that matters: what to do follows from the channel's row and the journal alone, each time anew.
So a reaction that failed, bounced or was cut off by a crash is simply made again, and always the right one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.agent.triggers import trigger_data
from shared.channels.closing import next_trigger
from shared.channels.ledger import Meaning
from shared.channels.model import Channel, Status
from shared.logs import get_logger
from shared.obyte.agents import MIN_AGENT_BYTES
from shared.obyte.composing import Output, data_message
from shared.obyte.errors import CompositionError, HubError
from shared.store import channels, journal
from worker.errors import PostingError
from worker.pacing import Backoff, Bell
from worker.wallet import Purpose, UnitOrder

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from shared.channels.closing import Trigger
    from shared.store.channel_rows import StoredChannel
    from shared.store.database import Connection
    from worker.guard import Guard
    from worker.hub_session import HubSession
    from worker.wallet import Wallet

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SettlementPace:
    """How often settlement looks and tries, in seconds."""

    round_s: float = 1.0
    ledger_time_s: float = 5.0
    """How often the ledger's time is asked for while a closing of ours waits for its timeout."""
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


class Settlement:
    """Settlement of one term of the lease. `on_posted` is told when the hub has taken a unit.

    Two clocks: wall time for the hub, monotonic seconds for pauses.
    """

    def __init__(
        self,
        guard: Guard,
        session: HubSession,
        wallet: Wallet,
        *,
        on_posted: Callable[[], None],
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
        self._bell = Bell()
        self._unsettled: set[str] = set()
        # Kept apart from the set a round works on: a change in mid-round is never mistaken for what the round has read.
        self._changed: set[str] = set()
        self._attempts: dict[str, _Attempts] = {}
        self._ledger_time_s = 0.0
        self._ledger_time_due_s = 0.0

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
        try:
            await self._wallet.resume()
        except PostingError:
            return  # no connection to the hub: it will be back, and every channel is still unsettled then
        self._unsettled |= self._changed
        self._changed.clear()
        async with self._guard.reading() as conn:
            known = await channels.find(conn, self._unsettled)
            on_their_way = {(entry.aa_address, entry.period, entry.purpose) for entry in await journal.unfinished(conn)}
        for aa_address in sorted(self._unsettled):
            if stopping.is_set():
                return
            stored = known.get(aa_address)
            if stored is None or not _is_unsettled(stored.channel):
                self._unsettled.discard(aa_address)
                self._attempts.pop(aa_address, None)
            elif not any((aa_address, stored.channel.period, meaning) in on_their_way for meaning in _ends(stored)):
                await self._settle(stored.channel)

    async def _settle(self, seen: Channel) -> None:
        """Send what the channel needs now, if anything; `seen` is the channel without its claim."""
        if seen.status is Status.CLOSING_BY_ME:
            await self._ask_ledger_time()
            if self._wanted(seen) is None:
                return
        async with self._guard.transaction() as conn:
            channel = await channels.lock_one(conn, seen.aa_address)
        trigger = None if channel is None else self._wanted(channel)
        if trigger is None:
            return
        purpose = Purpose(trigger.meaning.value, seen.aa_address, trigger.period)
        attempts = self._attempts_for(seen.aa_address, purpose)
        if self._monotonic() < attempts.not_before_s:
            return
        try:
            unit = await self._wallet.post(self._order(seen.aa_address, purpose, trigger))
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
            self._on_posted()
        attempts.not_before_s = self._monotonic() + pause_s

    async def _ask_ledger_time(self) -> None:
        """The agent compares with the timestamp of a unit that will be at least as late as one made now."""
        if self._monotonic() < self._ledger_time_due_s:
            return
        self._ledger_time_due_s = self._monotonic() + self._pace.ledger_time_s
        try:
            parents = await self._session.client.get_parents(
                witnesses=self._session.order_providers,
                from_addresses=[self._wallet.address],
                output_addresses=[self._wallet.address],
                now_s=self._clock(),
            )
        except (HubError, CompositionError) as error:
            logger.warning("ledger_time_unknown", code=error.code, reason=str(error))
            return
        self._ledger_time_s = parents.timestamp_s

    def _wanted(self, channel: Channel) -> Trigger | None:
        return next_trigger(channel, ledger_time_s=self._ledger_time_s, margin_s=self._pace.margin_s)

    def _order(self, aa_address: str, purpose: Purpose, trigger: Trigger) -> UnitOrder:
        async def is_wanted(conn: Connection) -> bool:
            channel = await channels.lock_one(conn, aa_address)
            return channel is not None and self._wanted(channel) == trigger

        return UnitOrder(
            purpose=purpose,
            payments=(Output(aa_address, MIN_AGENT_BYTES),),
            messages=(data_message(trigger_data(trigger)),),
            is_wanted=is_wanted,
        )

    def _attempts_for(self, aa_address: str, purpose: Purpose) -> _Attempts:
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


def _ends(stored: StoredChannel) -> tuple[Meaning, ...]:
    """Return what a unit may mean that ends the state the channel is in."""
    match stored.channel.status:
        case Status.CLOSING_BY_PEER:
            return (Meaning.CONFIRM, Meaning.FRAUD_PROOF)
        case Status.CLOSING_BY_ME:
            return (Meaning.CONFIRM,)
        case _:
            return (Meaning.CLOSE,)


def _is_unsettled(channel: Channel) -> bool:
    """Whether the channel needs us: it is closing, or we have ordered it closed."""
    return channel.is_closing or (channel.status is Status.OPEN and channel.period_closed_by_me == channel.period)
