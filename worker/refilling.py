"""Auto refill: tops our deposits up where an operator has asked for it, one deposit per channel at a time.

Looks at every such channel now and then, and at one that has changed at once. The journal knows a channel's refills by
one reference, so that no second one can be made while the fate of one is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.channels.errors import ChannelError, NotDepositableError
from shared.channels.refilling import refill_due
from shared.logs import get_logger
from shared.store import channels, deposits, journal, refills
from worker.commands.kinds import is_peer_closing
from worker.errors import PostingError
from worker.pacing import Backoff, Bell

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from shared.channels.model import Channel
    from shared.store.database import Connection
    from worker.depositing import Depositing
    from worker.guard import Guard
    from worker.wallet import Wallet

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RefillPace:
    """How often is looked and tried, in seconds."""

    round_s: float = 30.0
    """Every channel with auto refill is looked at this often."""
    retry_first_s: float = 5.0
    retry_longest_s: float = 600.0
    """A refill that bounces costs 10 000 bytes each time: it is not made again at once."""


@dataclass(slots=True)
class _Attempts:
    pauses: Backoff
    not_before_s: float = 0.0


class Refilling:
    """Auto refill of one term of the lease."""

    def __init__(
        self,
        guard: Guard,
        wallet: Wallet,
        depositing: Depositing,
        *,
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
        pace: RefillPace,
        on_refilled: Callable[[], None],
    ) -> None:
        self._guard = guard
        self._wallet = wallet
        self._depositing = depositing
        self._monotonic = monotonic
        self._jitter = jitter
        self._pace = pace
        self._on_refilled = on_refilled
        self._bell = Bell()
        self._changed: set[str] = set()
        self._everything_due_s = 0.0
        self._attempts: dict[str, _Attempts] = {}

    def look_at(self, aa_address: str) -> None:
        """The channel has changed: see at once whether it needs money."""
        self._changed.add(aa_address)
        self._bell.ring()

    def wake(self) -> None:
        """Do the next round now."""
        self._bell.ring()

    async def run(self, stopping: asyncio.Event) -> None:
        """Refill until `stopping` is set; a step in hand is finished first. Raises StoreError."""
        while not stopping.is_set():
            due = await self._take_due()
            for aa_address in due:
                if not stopping.is_set():
                    await self._refill(aa_address)
            await self._bell.sleep(self._pace.round_s)

    async def _take_due(self) -> list[str]:
        """Return the channels to look at: all with auto refill when that is due, else those that have changed."""
        changed = sorted(self._changed)
        self._changed.clear()
        if self._monotonic() < self._everything_due_s:
            return changed
        self._everything_due_s = self._monotonic() + self._pace.round_s
        found: list[str] = []
        async with self._guard.reading() as conn:
            while page := await refills.refilled(conn, found[-1] if found else ""):
                found += page
        return found

    async def _refill(self, aa_address: str) -> None:
        """Deposit what is due in one channel, if anything."""
        attempts = self._attempts.get(aa_address)
        if attempts is not None and self._monotonic() < attempts.not_before_s:
            return
        async with self._guard.transaction() as conn:
            if await refills.of(conn, aa_address) is None or await journal.is_under_way(conn, _reference(aa_address)):
                return
            channel = await channels.lock_one(conn, aa_address)
            amount = 0 if channel is None else await self._due(conn, channel)
        if channel is None or not amount:
            self._attempts.pop(aa_address, None)
            return
        attempts = self._attempts.setdefault(
            aa_address, _Attempts(Backoff(self._pace.retry_first_s, self._pace.retry_longest_s, self._jitter))
        )
        attempts.not_before_s = self._monotonic() + attempts.pauses.pause_s()

        async def is_wanted(conn: Connection, locked: Channel) -> None:
            if await self._due(conn, locked) != amount:
                raise NotDepositableError("the refill is no longer due")

        reference = _reference(aa_address)
        order = self._depositing.order(channel, amount, reference=reference, is_wanted=is_wanted, is_refill=True)
        try:
            unit = await self._wallet.post(order)
        except (PostingError, ChannelError) as error:
            logger.warning("refill_not_made", aa_address=aa_address, code=error.code, reason=str(error))
        else:
            logger.info("channel_refilled", aa_address=aa_address, amount=amount, unit=unit)
            self._on_refilled()

    async def _due(self, conn: Connection, channel: Channel) -> int:
        """Return what is to be deposited now; 0 also when limits forbid it."""
        refill = await refills.of(conn, channel.aa_address)
        if refill is None:
            return 0
        amount = refill_due(
            channel,
            refill,
            pending_deposits=await deposits.pending_amount(conn, channel.aa_address),
            peer_is_closing=await is_peer_closing(conn, channel.aa_address),
        )
        if amount:
            try:
                await self._depositing.check_exposure(conn, channel, amount)
            except ChannelError as error:
                logger.warning("refill_not_allowed", aa_address=channel.aa_address, reason=str(error))
                return 0
        return amount


def _reference(aa_address: str) -> str:
    """Return what the journal knows the refills of a channel by: only one can be on its way."""
    return f"refill-{aa_address}"
