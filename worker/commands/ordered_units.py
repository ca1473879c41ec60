"""The unit that a command asks for: made once, whatever is cut off.

The journal entry that has the command's number as its reference tells how far it came:

    no entry                       make the unit
    composed                       somebody posts it again until the hub answers
    posted or stable               done
    failed before the hub took it  it never was: make another
    failed after the hub took it   the ledger turned it down: the command has failed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.channels.errors import ChannelError
from shared.logs import get_logger
from shared.store import journal
from shared.store.journal import UnitState
from worker.commands.kinds import RefusedError
from worker.errors import PostingError
from worker.pacing import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.store.commands import Command
    from worker.guard import Guard
    from worker.wallet import UnitOrder, Wallet

logger = get_logger(__name__)

PATIENCE_S = 600.0
"""How long it is tried to get a unit to the hub before the command fails; nothing was sent then."""
_USELESS = frozenset(
    {"not_enough_funds", "reserve_needed", "payee_is_agent", "peer_is_agent", "bad_output", "too_many_outputs"}
)
"""Codes of orders that fail again as long as nobody does anything about it."""


@dataclass(frozen=True, slots=True)
class UnitPace:
    """How often it is tried again to make a unit, in seconds."""

    first_s: float = 1.0
    longest_s: float = 30.0
    patience_s: float = PATIENCE_S


@dataclass(slots=True)
class _Attempts:
    pauses: Backoff
    give_up_at_s: float
    not_before_s: float = 0.0


class OrderedUnits:
    """Makes one unit for each command that asks for one. Shared by all kinds that do."""

    def __init__(
        self,
        guard: Guard,
        wallet: Wallet,
        *,
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
        pace: UnitPace,
    ) -> None:
        self._guard = guard
        self._wallet = wallet
        self._monotonic = monotonic
        self._jitter = jitter
        self._pace = pace
        self._attempts: dict[int, _Attempts] = {}

    async def follow(self, command: Command, order: UnitOrder) -> str | None:
        """Do the next step to the unit; return its hash when the hub has it, None while it is not known to.

        Raises RefusedError when it will not be made, and whatever the order's `is_wanted` raises.
        """
        try:
            unit, is_on_its_way = await self._fate(command)
            if unit is None and not is_on_its_way:
                unit = await self._make(command, order)
        except (RefusedError, ChannelError):
            self._attempts.pop(command.id, None)
            raise
        if unit is not None:
            self._attempts.pop(command.id, None)
        return unit

    async def _fate(self, command: Command) -> tuple[str | None, bool]:
        """What the journal says: the unit that the hub has, and whether one is on its way to it."""
        async with self._guard.reading() as conn:
            entries = await journal.of_reference(conn, reference_of(command))
        if not entries:
            return None, False
        last = entries[-1]
        if last.state in (UnitState.POSTED, UnitState.STABLE):
            return last.unit, False
        if last.state is UnitState.FAILED and last.posted_at is not None:
            raise RefusedError("bounced", last.error or "the ledger turned the unit down", {"unit": last.unit})
        return None, last.state is UnitState.COMPOSED

    async def _make(self, command: Command, order: UnitOrder) -> str | None:
        attempts = self._attempts_of(command)
        if self._monotonic() < attempts.not_before_s:
            return None
        try:
            return await self._wallet.post(order)
        except PostingError as error:
            pause_s = attempts.pauses.pause_s()
            attempts.not_before_s = self._monotonic() + pause_s
            if await self._is_final(command, error, attempts):
                raise RefusedError(error.code, str(error)) from error
            logger.warning(
                "order_not_posted",
                command=command.id,
                kind=command.kind,
                code=error.code,
                reason=str(error),
                retry_in_s=round(pause_s, 1),
            )
            return None

    async def _is_final(self, command: Command, error: PostingError, attempts: _Attempts) -> bool:
        """Whether the command fails with this error. Never while a unit may be on its way."""
        if error.code not in _USELESS and self._monotonic() < attempts.give_up_at_s:
            return False
        unit, is_on_its_way = await self._fate(command)
        return unit is None and not is_on_its_way

    def _attempts_of(self, command: Command) -> _Attempts:
        if command.id not in self._attempts:
            pauses = Backoff(self._pace.first_s, self._pace.longest_s, self._jitter)
            self._attempts[command.id] = _Attempts(pauses, self._monotonic() + self._pace.patience_s)
        return self._attempts[command.id]


def reference_of(command: Command) -> str:
    """Return what tells the units of one command from those of others."""
    return f"command-{command.id}"
