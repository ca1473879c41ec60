"""Histories of more units than a hub tells at once.

A channel. What its agent answered is listed by the hub page by page. The list is a hint: each unit in it is asked for
by its hash and proven, and the events are applied in their own numbering, so that what the list leaves out is a gap.

The wallet. Its newest units are read from the lowest index from which they fit into one answer, then those before, with
the first ones named as known. Of what is older still, only units that hold unspent coins are asked for, by the hub's
hint. They are proven like all others; that nothing has spent them is something no light client can prove, and a unit
that spends a spent coin is refused by the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.obyte.hub_errors import HubRequestError
from shared.obyte.hub_requests import MAX_RESPONSES
from shared.store import channels, ledger_events
from shared.store.alarms import AlarmKind
from worker.channel_reader import Answer, Outcome
from worker.errors import WithholdingHubError
from worker.news import news_by_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.obyte.history import ProvenHistory, ProvenUnit
    from shared.obyte.hub_client import HubClient
    from worker.alarms import Alarms
    from worker.channel_reader import ChannelReader
    from worker.guard import Guard
    from worker.proving import Prover
    from worker.wallet import Wallet

logger = get_logger(__name__)

CHUNK = 500
"""Units asked for by their hashes at once."""
MAX_PAGES = 10_000
MAX_KNOWN_UNITS = 2_000
MAX_STEPS = 40
"""Requests made to find the lowest index from which an answer fits: more than the bits of any index."""
GOOD_ANSWER = 500
"""An answer with this many units is large enough: what is before it is asked for next."""
ROOM_BYTES = 10_000
"""Asked for less than all bytes there are: hubs keep some for the fees of the unit that would spend them."""
_TOO_LARGE = "history is too large"


def is_too_large(error: HubRequestError) -> bool:
    """Whether the hub refuses because it would have to tell of too many units."""
    return _TOO_LARGE in error.hub_text


class BigHistories:
    """Reads for one term of the lease what does not fit into one answer."""

    def __init__(
        self, guard: Guard, prover: Prover, wallet: Wallet, channel_reader: ChannelReader, alarms: Alarms
    ) -> None:
        self._guard = guard
        self._prover = prover
        self._wallet = wallet
        self._channels = channel_reader
        self._alarms = alarms

    async def read_channel(self, client: HubClient, aa_address: str) -> None:
        """Apply what a channel's agent has answered, from the beginning to about now.

        Raises HubError, HistoryProofError, WithholdingHubError, StoreError.
        """
        async with self._guard.reading() as conn:
            on_record = {event.unit for event in await ledger_events.of(conn, aa_address)}
        units = [unit for unit in await self._list_responses(client, aa_address) if unit not in on_record]
        logger.info("big_history_read", aa_address=aa_address, units=len(units))
        for start in range(0, len(units), CHUNK):
            history = await self._prover.history(client, asked=units[start : start + CHUNK])
            async with self._guard.reading() as conn:
                stored = (await channels.find(conn, [aa_address])).get(aa_address)
            if stored is None:
                return
            told = news_by_address(history, [aa_address]).get(aa_address, ())
            answer = Answer(units=tuple(told), history=history, asked=frozenset())
            outcome = await self._channels.read(client, stored.channel, answer, is_whole=False)
            if outcome is Outcome.READ_WHOLE:
                raise WithholdingHubError(f"the hub's list of what {aa_address} answered has gaps")
            if outcome is Outcome.BROKEN:
                return

    async def _list_responses(self, client: HubClient, aa_address: str) -> list[str]:
        units: dict[str, None] = {}
        mci = 1
        for _ in range(MAX_PAGES):
            page = await client.get_aa_response_units(aa_address, mci)
            units |= dict.fromkeys(unit for _, unit in page if unit is not None)
            if len(page) < MAX_RESPONSES:
                break
            if page[0][0] == page[-1][0] == mci:
                break  # a page full of one index: there is no way past it, and a gap will show what is missing
            mci = page[-1][0]
        return list(units)

    async def read_own(self, client: HubClient) -> None:
        """Learn of the wallet's newest units and of its older coins.

        Raises HubError, HistoryProofError, WithholdingHubError, StoreError.
        """
        found, is_complete = await self._newest(client, known=())
        if not is_complete:
            known = [unit.unit_hash for unit in found if unit.is_stable][:MAX_KNOWN_UNITS]
            before, is_complete = await self._newest(client, known=known)
            found += before
        if not is_complete:
            found += await self._old_coins(client, {unit.unit_hash for unit in found})
        # All at once: what is known half looks like an empty wallet.
        await self._wallet.learn({unit.unit_hash: unit for unit in found}.values())
        await self.compare_balances(client)

    async def compare_balances(self, client: HubClient) -> None:
        """Raise the alarm if the hub says that we have more than was proven, take it down if not. Raises HubError."""
        told = await client.get_stable_balances(self._wallet.address)
        missing = [asset for asset, amount in told.items() if self._wallet.coins.balance(asset).stable < amount]
        if missing:
            self._alarms.raise_(AlarmKind.HISTORY_TOO_LARGE, self._wallet.address, assets=" ".join(missing))
        else:
            self._alarms.clear(AlarmKind.HISTORY_TOO_LARGE, self._wallet.address)

    async def _newest(self, client: HubClient, *, known: Sequence[str]) -> tuple[list[ProvenUnit], bool]:
        """Return as many of the newest units as fit into an answer; tell whether these are all but the known ones."""
        whole = await self._ask(client, known, None)
        if whole is not None:
            return whole, True
        too_low, enough = 0, await client.get_last_mci() + 1
        best = await self._ask(client, known, enough)
        for _ in range(MAX_STEPS):
            if best is not None and (len(best) >= GOOD_ANSWER or enough - too_low <= 1):
                break
            middle = (too_low + enough) // 2
            answer = await self._ask(client, known, middle)
            if answer is None:
                too_low = middle
            else:
                enough, best = middle, answer
        if best is None:
            raise WithholdingHubError("the hub refuses to tell of our newest units")
        return best, False

    async def _ask(self, client: HubClient, known: Sequence[str], min_mci: int | None) -> list[ProvenUnit] | None:
        address = self._wallet.address
        try:
            return self._own(await self._prover.history(client, addresses=[address], known=known, min_mci=min_mci))
        except HubRequestError as error:
            if not is_too_large(error):
                raise
            return None

    async def _old_coins(self, client: HubClient, found: set[str]) -> list[ProvenUnit]:
        """Return units with coins that the hub says are unspent, but for those found already."""
        address = self._wallet.address
        last_mci = await client.get_last_mci()
        proven: list[ProvenUnit] = []
        for asset, amount in (await client.get_stable_balances(address)).items():
            wanted = amount - ROOM_BYTES if asset == "base" else amount
            units: list[str] = []
            while wanted > 0 and not units:
                units = await client.pick_coins(address, asset=asset, amount=wanted, last_ball_mci=last_mci)
                wanted //= 2
            unknown = [unit for unit in units if unit not in found and not self._wallet.coins.is_stable(unit)]
            for start in range(0, len(unknown), CHUNK):
                proven += self._own(await self._prover.history(client, asked=unknown[start : start + CHUNK]))
        return proven

    def _own(self, history: ProvenHistory) -> list[ProvenUnit]:
        return news_by_address(history, [self._wallet.address]).get(self._wallet.address, [])
