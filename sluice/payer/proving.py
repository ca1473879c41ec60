"""Asking hubs for history and proving what they answer, by what is trusted instead of them.

order providers   pinned: a person's list, or that of the first hub ever asked. Proofs go by them alone; a hub that
names others is told of in the log, and so is a first list unlike the one the network began with
old proofs        genuine, served again they hide what has happened since: none may end before one that was seen
earlier, in this run or in one before it
the clock         ours may be wrong by any amount: what order providers have signed corrects it
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import structlog

from shared.obyte.chash import is_valid_address
from shared.obyte.errors import HistoryProofError
from shared.obyte.history import CLOCK_TOLERANCE_S, ProvenHistory, prove_history
from shared.obyte.hub_errors import HubAnswerError, HubRequestError
from shared.obyte.ledger_clock import TOLERANCE_S, LedgerClock
from shared.obyte.system_variables import compare_order_providers
from sluice.payer import store as payer_store
from sluice.payer.errors import WalletError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shared.obyte.hub_client import HubClient
    from shared.obyte.networks import Network
    from sluice.payer.store import PayerStore

logger = structlog.get_logger(__name__)

SLACK_S = 60.0
"""Honest hubs differ by this much in what they know."""
MAX_PROOF_AGE_S = 2_400.0
"""On a public network, where units arrive all the time. The first proof has nothing better to be held against."""
COMPARE_S = 600.0
"""How often a hub that stays is asked for the time again."""
_PINNED, _PROVEN = "witnesses", "proven_time_s"


class Prover:
    """What one payer trusts, and what it has seen proven."""

    def __init__(
        self,
        *,
        address: str,
        network: Network,
        store: PayerStore,
        clock: LedgerClock,
        monotonic: Callable[[], float],
        by_hand: Sequence[str] = (),
    ) -> None:
        """`by_hand`: order providers that a person trusts; they replace what was pinned. Raises WalletError."""
        self.clock = clock
        self._address = address
        self._network = network
        self._store = store
        self._monotonic = monotonic
        self._by_hand = tuple(sorted(by_hand))
        self._pinned: tuple[str, ...] = ()
        self._time_s = 0.0
        self._kept_time_s = 0.0
        self._compare_due_s = 0.0
        self._differing: set[str] = set()
        if self._by_hand and not (
            all(map(is_valid_address, self._by_hand))
            and len(self._by_hand) == len(set(self._by_hand)) == network.order_provider_count
        ):
            rule = f"{network.name} has {network.order_provider_count} order providers, each with an address"
            raise WalletError("order_providers", rule)

    @property
    def witnesses(self) -> tuple[str, ...]:
        """The pinned order providers; empty before the first connection ever."""
        return self._pinned

    async def load(self) -> None:
        """Take up what earlier runs have trusted and seen proven."""
        if self._by_hand:
            text = json.dumps(self._by_hand)
            await self._store.run(lambda connection: payer_store.replace_meta(connection, _PINNED, text))
        pinned = await self._store.run(lambda connection: payer_store.meta(connection, _PINNED))
        time_s = await self._store.run(lambda connection: payer_store.meta(connection, _PROVEN))
        self._pinned = tuple(json.loads(pinned)) if pinned else ()
        self._time_s = self._kept_time_s = float(time_s or 0)

    async def greet(self, client: HubClient) -> None:
        """Ask a hub what has to be known before its histories are. Raises HubError, HistoryProofError."""
        self.clock.another_hub()
        named = await client.get_witnesses()
        if len(named) != self._network.order_provider_count:
            rule = f"{self._network.name} has {self._network.order_provider_count} order providers"
            raise HubAnswerError("get_witnesses", rule)
        if not self._pinned:
            text = json.dumps(named)
            await self._store.run(lambda connection: payer_store.meta(connection, _PINNED, text))
            self._pinned = named
            if self._network.name != "devnet":
                self._compare(self._network.initial_order_providers, "the network's first list")
        self._compare(named, client.url)
        await self._ask_for_time(client)

    async def keep_time(self, client: HubClient) -> None:
        """Ask a hub for the time now and then. Raises HubError, HistoryProofError."""
        if self._monotonic() >= self._compare_due_s:
            await self._ask_for_time(client)

    async def history(
        self,
        client: HubClient,
        *,
        addresses: Sequence[str] = (),
        asked: Sequence[str] = (),
        min_mci: int | None = None,
        is_for_time: bool = False,
    ) -> ProvenHistory:
        """Return what the hub proves of these addresses and units.

        `is_for_time`: what is not proven may be from any future, as long as nobody knows how late our clock is.
        Raises HubError, HistoryProofError.
        """
        answer = await client.get_history(
            witnesses=self._pinned, addresses=addresses, requested_joints=asked, min_mci=min_mci
        )
        history = prove_history(
            answer,
            self._pinned,
            self._network,
            now_s=self.clock.now_s(),
            max_age_s=None if self._network.name == "devnet" else MAX_PROOF_AGE_S,
            not_before_s=self._time_s - SLACK_S,
            ahead_s=math.inf if is_for_time else CLOCK_TOLERANCE_S,
        )
        if history.proven_time_s is not None:
            self.clock.proven(history.proven_time_s)
            await self._keep(history.proven_time_s)
        return history

    async def _keep(self, time_s: float) -> None:
        self._time_s = max(self._time_s, time_s)
        if self._time_s < self._kept_time_s + SLACK_S:
            return  # a restart allows no more than twice the slack
        self._kept_time_s = self._time_s
        text = str(self._time_s)
        await self._store.run(lambda connection: payer_store.replace_meta(connection, _PROVEN, text))

    async def _ask_for_time(self, client: HubClient) -> None:
        self._compare_due_s = self._monotonic() + COMPARE_S
        try:
            time_s, last_ball_unit = await client.get_time(witnesses=self._pinned, address=self._address)
        except HubRequestError as error:
            # It is the hub's word, and no more: without it our own clock is believed.
            logger.warning("payer_time_not_told", hub=client.url, code=error.code, reason=str(error))
            return
        # Whatever there is to tell about us: a hub that is alive can prove its newest stable unit, and when that was.
        history = await self.history(client, asked=[last_ball_unit], is_for_time=True)
        if not history.units:
            raise HistoryProofError("no_proof", "the hub does not tell of the last ball that it offers")
        self.clock.told(time_s)
        off_s = self.clock.off_s()
        if abs(off_s) > TOLERANCE_S:
            logger.warning("payer_clock_differs", seconds=round(abs(off_s)), is_late=off_s < 0)

    def _compare(self, named: Iterable[str], source: str) -> None:
        found = compare_order_providers(self._pinned, named)
        if found.matters and source not in self._differing:
            self._differing.add(source)
            logger.warning(
                "payer_order_providers_differ",
                source=source,
                pinned_only=found.pinned_only,
                named_only=found.named_only,
            )
