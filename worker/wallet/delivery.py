"""Taking journaled units to the hub, as often as it needs, and noting what it says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.obyte.errors import HubError
from shared.obyte.hub_errors import HubAnswerError, HubClosedError, HubTimeoutError, JointRefusedError
from shared.store import journal
from shared.store.journal import UnitState
from worker.errors import PostingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.obyte.coins import CoinSet
    from shared.obyte.hub_client import HubClient
    from shared.obyte.serialization import JsonValue
    from shared.store.journal import Entry
    from worker.guard import Guard

logger = get_logger(__name__)


class Delivery:
    """Delivers the units of one wallet; `coins` learn which of them failed."""

    def __init__(self, guard: Guard, coins: CoinSet) -> None:
        self._guard = guard
        self._coins = coins
        self._missing: set[str] = set()

    def heard(self, *, asked: Iterable[str], told: Iterable[str]) -> None:
        """Note which units of ours the hub knew when it was asked for them; the others have to be posted again."""
        self._missing = self._missing.union(asked).difference(told)

    def void(self, unit: str) -> None:
        """A unit of ours can never become final: its coins can be spent again."""
        self._missing.discard(unit)
        self._coins.mark_bad(unit)

    async def resume(self, client: HubClient) -> tuple[Entry, ...]:
        """Post unfinished units again, the oldest first; returns those whose fate is still unknown.

        Behind one in doubt nothing is posted: a unit may stand on those before it.
        """
        async with self._guard.reading() as conn:
            entries = await journal.unfinished(conn)
        open_ones = [entry for entry in entries if entry.state is UnitState.COMPOSED or entry.unit in self._missing]
        for number, entry in enumerate(open_ones):
            try:
                refusal = await self.deliver(client, entry.unit, entry.joint)
            except PostingError as error:
                logger.warning("unit_in_doubt", unit=entry.unit, code=error.code, reason=str(error))
                return tuple(open_ones[number:])
            self._missing.discard(entry.unit)
            if refusal is not None:
                await self.failed(entry.unit, f"{refusal.kind}: {refusal.hub_text}")
        return ()

    async def deliver(self, client: HubClient, unit: str, joint: Mapping[str, JsonValue]) -> JointRefusedError | None:
        """Post a journaled unit; returns the refusal if the hub will never take it like this and does not have it.

        A unit that the hub keeps must not be replaced: both would cost, and one would do nothing. Raises PostingError
        `in_doubt` when it may or may not have arrived: it stays in the journal for `resume`. Raises LeaseLostError, and
        posts nothing, when another worker's term has begun: he may have given this unit up.
        """
        await self._guard.check()
        try:
            await client.post_joint(dict(joint))
        except JointRefusedError as refusal:
            if refusal.kind == "in_work":
                raise PostingError("in_doubt", refusal.hub_text) from refusal
            if not await self._is_kept(client, unit):
                return refusal
        except (HubTimeoutError, HubClosedError, HubAnswerError) as error:
            raise PostingError("in_doubt", str(error)) from error
        await self._taken(unit)
        return None

    async def offer(self, client: HubClient) -> None:
        """Post what the hub in use has taken to another hub that does not know it: the first may keep it to itself.

        The oldest first: a unit may stand on those before it. What this hub says of one changes nothing.

        Raises HubError.
        """
        async with self._guard.reading() as conn:
            entries = await journal.unfinished(conn)
        for entry in entries:
            if entry.state is not UnitState.POSTED or await client.get_joint(entry.unit) is not None:
                continue
            await self._guard.check()
            try:
                await client.post_joint(dict(entry.joint))
            except JointRefusedError as refusal:
                logger.info("unit_not_taken_elsewhere", unit=entry.unit, hub=client.url, reason=refusal.hub_text)
            else:
                logger.info("unit_posted_elsewhere", unit=entry.unit, hub=client.url)

    async def was_overtaken(self, client: HubClient, doubtful: Iterable[Entry], by: str) -> None:
        """A later unit went first: learn whether the hub has these by now; those it does not have come to nothing.

        Each conflicts with the later unit, because an author's units have to stand on one another, and what replaces
        one of them spends its coins: whatever another hub keeps, only one of them can become final.
        """
        for entry in doubtful:
            try:
                is_kept = await self._is_kept(client, entry.unit)
            except PostingError:
                return  # `resume` will find out
            if is_kept:
                await self._taken(entry.unit)
            else:
                await self.failed(entry.unit, f"overtaken: {by} could not wait for it")

    async def failed(self, unit: str, reason: str) -> None:
        """Note that a unit comes to nothing."""
        async with self._guard.transaction() as conn:
            await journal.failed(conn, unit, reason)
        self.void(unit)
        logger.warning("unit_failed", unit=unit, reason=reason)

    async def _taken(self, unit: str) -> None:
        async with self._guard.transaction() as conn:
            await journal.posted(conn, unit)
        self._missing.discard(unit)
        logger.info("unit_posted", unit=unit)

    @staticmethod
    async def _is_kept(client: HubClient, unit: str) -> bool:
        try:
            return await client.get_joint(unit) is not None
        except HubError as error:
            raise PostingError("in_doubt", str(error)) from error
