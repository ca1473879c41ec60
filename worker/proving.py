"""Asking a hub for history and proving what it answers, by what is trusted instead of it.

A proof can be genuine and old. Whoever serves one again hides what has happened since, so a proof must not end before
one that was seen earlier, by this worker or by the one before it; and on a public network, where units arrive all the
time, it must not end long ago.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from shared.obyte.history import CLOCK_TOLERANCE_S, ProvenHistory, prove_history
from shared.obyte.hub_errors import HubClosedError
from worker.errors import WithholdingHubError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.obyte.errors import HubError
    from shared.obyte.hub_client import HubClient
    from shared.store.ledger_pins import LedgerPins
    from worker.ledger_clock import LedgerClock
    from worker.order_providers import OrderProviders

MAX_SILENCE_S = 1_200.0
"""A public network whose order providers have not signed anything for this long does not work, or is hidden from us."""
MAX_PROOF_AGE_S = 2_400.0
"""By our own clock, which may be wrong by minutes: only the first proof has nothing better to be held against."""


class Prover:
    """Proves histories for one term of the lease. `slack_s`: honest hubs differ by this much in what they know."""

    def __init__(self, providers: OrderProviders, clock: LedgerClock, *, slack_s: float) -> None:
        self.providers = providers
        self.clock = clock
        self._slack_s = slack_s
        self.time_s = 0
        """The latest ledger time that was proven; outlives this term."""
        self.mci: int | None = None
        """Main chain index told with that proof, not proven."""
        self._proven_by: dict[str, int] = {}
        """By hub the latest time that it has proven."""

    async def load(self) -> None:
        """Take up what earlier terms have trusted and proven. Raises ConfigurationError, StoreError."""
        self.renew(await self.providers.load())

    def another_hub(self, hub: str) -> None:
        """Nothing was proven by this hub yet, which is in use from now on."""
        self._proven_by.pop(hub, None)
        self.clock.another_hub()

    def missing(self, hub: str, what: str) -> HubError | WithholdingHubError:
        """Return the error about a hub that does not tell what was proven before: it is behind, or hides it."""
        if self._proven_by.get(hub, 0) < self.time_s:
            return HubClosedError("hub_behind", f"the hub does not know of {what}, it is behind")
        return WithholdingHubError(f"the hub does not tell of {what}")

    def renew(self, pins: LedgerPins) -> None:
        """Take up what the database says now."""
        self.providers.renew(pins)
        self.time_s = max(self.time_s, pins.time_s)

    async def history(
        self,
        client: HubClient,
        *,
        addresses: Sequence[str] = (),
        asked: Sequence[str] = (),
        known: Sequence[str] = (),
        min_mci: int | None = None,
        is_for_time: bool = False,
    ) -> ProvenHistory:
        """Return what the hub proves of these addresses and units, but for stable units that are known.

        `is_for_time`: what is not proven may be from any future, as long as nobody knows how late our clock is.
        Raises HubError, HistoryProofError.
        """
        witnesses = self.providers.pinned
        answer = await client.get_history(
            witnesses=witnesses,
            addresses=addresses,
            requested_joints=asked,
            known_stable_units=known,
            min_mci=min_mci,
        )
        network = self.providers.network
        is_public = network.name != "devnet"
        not_before_s = self.time_s - self._slack_s
        if is_public and (passed_s := self.clock.proven_s()) is not None:
            not_before_s = max(not_before_s, passed_s - MAX_SILENCE_S)
        # A long history takes a while to prove; meanwhile the lease has to be renewed.
        history = await asyncio.to_thread(
            prove_history,
            answer,
            witnesses,
            network,
            now_s=self.clock.now_s(),
            max_age_s=MAX_PROOF_AGE_S if is_public else None,
            not_before_s=not_before_s,
            ahead_s=math.inf if is_for_time else CLOCK_TOLERANCE_S,
        )
        self._learn(client.url, history)
        return history

    def _learn(self, hub: str, history: ProvenHistory) -> None:
        if history.proven_time_s is None:
            return
        self.clock.proven(history.proven_time_s)
        self._proven_by[hub] = max(self._proven_by.get(hub, 0), history.proven_time_s)
        if history.proven_time_s > self.time_s:
            self.time_s = history.proven_time_s
            self.mci = max((unit.mci_hint or 0 for unit in history.units if unit.is_stable), default=0) or None
