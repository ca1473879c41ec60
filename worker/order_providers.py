"""The order providers that are trusted: pinned once, kept through leases and restarts, never switched by a hub.

    SLUICE_ORDER_PROVIDERS      a person's word: it holds, and it is what the database keeps
    pinned in the database      what was trusted before, or accepted since by `sluice wallet order-providers --accept`
    the first hub ever asked    its list is pinned; where that is not what the network started from, or not what other
                                hubs say, an alarm tells so

A network votes for other order providers now and then. As long as a majority of the pinned ones serves, proofs hold;
the alarm comes as soon as more than one differs, so that a person can compare and accept in time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.obyte.chash import is_valid_address
from shared.obyte.hub_errors import HubAnswerError, HubClosedError
from shared.obyte.system_variables import compare_order_providers
from shared.store import ledger_pins
from shared.store.alarms import AlarmKind
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.obyte.networks import Network
    from shared.store.ledger_pins import LedgerPins
    from worker.alarms import Alarms
    from worker.guard import Guard

logger = get_logger(__name__)


class OrderProviders:
    """The pinned list of one term of the lease, and the network with as many order providers as it has."""

    def __init__(self, guard: Guard, network: Network, alarms: Alarms, by_hand: Sequence[str] = ()) -> None:
        self._guard = guard
        self._public_network = network
        self._alarms = alarms
        self._by_hand = tuple(sorted(by_hand))
        self._pinned: tuple[str, ...] = ()

    @property
    def pinned(self) -> tuple[str, ...]:
        """The trusted list, sorted. Raises HubClosedError `not_connected` before any hub was asked."""
        if not self._pinned:
            raise HubClosedError("not_connected", "the order providers are not known yet")
        return self._pinned

    @property
    def is_pinned(self) -> bool:
        """Whether anybody is trusted yet."""
        return bool(self._pinned)

    @property
    def network(self) -> Network:
        """The network, with as many order providers as are pinned: private networks have their own number."""
        return replace(self._public_network, order_provider_count=len(self.pinned))

    async def load(self) -> LedgerPins:
        """Take up what is pinned. Raises ConfigurationError for a list that cannot be one, StoreError."""
        if self._by_hand:
            self._check_by_hand()
            async with self._guard.transaction() as conn:
                await ledger_pins.pin(conn, self._by_hand)
        pins = await self.read()
        self._pinned = pins.order_providers
        return pins

    async def read(self) -> LedgerPins:
        """Return what the database says now. Raises StoreError."""
        async with self._guard.reading() as conn:
            return await ledger_pins.read(conn)

    def renew(self, pins: LedgerPins) -> None:
        """Take up what a person may have accepted meanwhile."""
        if pins.order_providers and pins.order_providers != self._pinned:
            logger.warning("order_providers_pinned", pinned=pins.order_providers, before=self._pinned)
            self._pinned = pins.order_providers
            for source in self._alarms.subjects(AlarmKind.ORDER_PROVIDERS_DIFFER):
                self._alarms.clear(AlarmKind.ORDER_PROVIDERS_DIFFER, source)

    def check_count(self, named: Sequence[str]) -> None:
        """Refuse a list that is too short or too long for a public network. Raises HubAnswerError."""
        network = self._public_network
        if network.name != "devnet" and len(named) != network.order_provider_count:
            rule = f"{network.name} has {network.order_provider_count} order providers"
            raise HubAnswerError("get_witnesses", rule)

    async def trust_first(self, named: Sequence[str], hub: str, said_by_others: Mapping[str, Sequence[str]]) -> None:
        """Pin the list of the first hub that was ever asked, and tell where others say something else."""
        async with self._guard.transaction() as conn:
            await ledger_pins.pin_first(conn, named)
        self._pinned = (await self.read()).order_providers
        logger.info("order_providers_pinned", pinned=self._pinned, hub=hub)
        initial = self._public_network.initial_order_providers
        if self._public_network.name != "devnet":
            self.compare(initial, "the network's first list")
        for other, list_of_other in said_by_others.items():
            self.compare(list_of_other, other)

    def compare(self, named: Iterable[str], source: str) -> None:
        """Raise or clear the alarm about one source's list: a hub's URL, or words for another one."""
        found = compare_order_providers(self._pinned, named)
        if found.matters:
            self._alarms.raise_(
                AlarmKind.ORDER_PROVIDERS_DIFFER,
                source,
                pinned_only=" ".join(found.pinned_only),
                named_only=" ".join(found.named_only),
            )
        else:
            self._alarms.clear(AlarmKind.ORDER_PROVIDERS_DIFFER, source)

    def _check_by_hand(self) -> None:
        expected = self._public_network.order_provider_count
        if not all(map(is_valid_address, self._by_hand)):
            raise ConfigurationError("order_providers", "SLUICE_ORDER_PROVIDERS: an address is wrong, see its checksum")
        if self._public_network.name != "devnet" and len(self._by_hand) != expected:
            raise ConfigurationError(
                "order_providers", f"SLUICE_ORDER_PROVIDERS: {self._public_network.name} has {expected} of them"
            )
