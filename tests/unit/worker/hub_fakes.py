"""Hubs, proofs and alarms as far as the session looks at them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shared.obyte.history import ProvenHistory, ProvenUnit
from shared.obyte.hub_errors import HubClosedError
from shared.obyte.networks import DEVNET
from shared.obyte.system_variables import read_system_variables
from shared.store.ledger_pins import LedgerPins
from worker.hub_choice import HubChoice
from worker.hub_session import HubSession
from worker.ledger_clock import LedgerClock
from worker.order_providers import OrderProviders
from worker.pacing import Backoff
from worker.session_pace import SessionPace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.store.alarms import AlarmKind

PROVIDER, OTHER, THIRD = "2FF7PSL7FYXVU5UIQHCVDTTPUOOG75GX", "Q" * 32, "R" * 32
OWN = "W" * 32
SYSTEM_VARIABLES = {
    "op_list": [{"vote_count_mci": -1, "value": [PROVIDER]}],
    "threshold_size": [{"vote_count_mci": 50, "value": 20_000}, {"vote_count_mci": -1, "value": 10_000}],
    "base_tps_fee": [{"vote_count_mci": -1, "value": 10}],
    "tps_interval": [{"vote_count_mci": -1, "value": 1}],
    "tps_fee_multiplier": [{"vote_count_mci": -1, "value": 10}],
}


class Time:
    """Two clocks that are set by hand."""

    def __init__(self) -> None:
        self.own_s = 1_000_000.0
        self.monotonic_s = 50.0

    def pass_by(self, seconds: float) -> None:
        self.own_s += seconds
        self.monotonic_s += seconds


class Board:
    """Alarms that stand, by kind and subject."""

    def __init__(self) -> None:
        self.standing: dict[tuple[str, str], dict[str, Any]] = {}
        self.raised: list[tuple[str, str]] = []

    def raise_(self, kind: AlarmKind, subject: str = "", **facts: Any) -> None:
        self.standing[kind.value, subject] = facts
        self.raised.append((kind.value, subject))

    def clear(self, kind: AlarmKind, subject: str = "") -> None:
        self.standing.pop((kind.value, subject), None)

    def subjects(self, kind: AlarmKind) -> frozenset[str]:
        return frozenset(subject for known, subject in self.standing if known == kind.value)


class Client:
    """A connection to one hub. `error` is raised on connecting."""

    def __init__(self, url: str, error: HubClosedError | None = None) -> None:
        self.url = url
        self.error = error
        self.witnesses: tuple[str, ...] = (PROVIDER,)
        self.system_variables: Any = SYSTEM_VARIABLES
        self.time_s = 1_000_000
        self.known: set[str] = set()
        self.is_open = False
        self.opened = asyncio.Event()

    async def connect(self) -> None:
        if self.error is not None:
            raise self.error
        self.is_open = True
        self.opened.set()

    async def get_witnesses(self) -> tuple[str, ...]:
        return self.witnesses

    async def get_system_variables(self) -> Any:
        return read_system_variables(self.system_variables)

    async def get_time(self, **_: Any) -> tuple[int, str]:
        return self.time_s, "last ball unit"

    async def close(self) -> None:
        self.is_open = False


class Providers(OrderProviders):
    """The pinned list without a database."""

    def __init__(self, alarms: Any, pinned: Sequence[str] = (PROVIDER,)) -> None:
        nothing: Any = None
        super().__init__(nothing, DEVNET, alarms)
        self._pinned = tuple(pinned)

    async def read(self) -> LedgerPins:
        return LedgerPins(self._pinned)

    async def trust_first(self, named: Sequence[str], hub: str, said_by_others: Any) -> None:
        self._pinned = tuple(named)
        for other, said in said_by_others.items():
            self.compare(said, other)


class ProvesAll:
    """Finds every history true; a hub tells the last ball unit and what else it is asked for and knows."""

    def __init__(self, providers: OrderProviders, clock: LedgerClock) -> None:
        self.providers = providers
        self.clock = clock

    def another_hub(self, _hub: str) -> None:
        self.clock.another_hub()

    def missing(self, hub: str, what: str) -> HubClosedError:
        return HubClosedError("hub_behind", f"{hub} does not know of {what}")

    def renew(self, pins: LedgerPins) -> None:
        self.providers.renew(pins)

    async def history(self, client: Any, *, asked: Sequence[str] = (), **_: Any) -> ProvenHistory:
        told = ["last ball unit", *client.known.intersection(asked)]
        return ProvenHistory(tuple(ProvenUnit({"unit": unit}, is_stable=True) for unit in told))


class SessionWorld:
    """A session whose hubs are `clients`, by URL: one connection after the other."""

    def __init__(self, clients: dict[str, list[Client]], *, pinned: Sequence[str] = (PROVIDER,), **pace: Any) -> None:
        self.clients = clients
        self.made: list[str] = []
        self.time = Time()
        self.alarms: Any = Board()
        clock = LedgerClock(lambda: self.time.own_s, lambda: self.time.monotonic_s, self.alarms)
        prover: Any = ProvesAll(Providers(self.alarms, pinned), clock)
        self.choice = HubChoice(tuple(clients), lambda: self.time.monotonic_s)
        self.session = HubSession(
            self.choice,
            self._make,
            prover,
            self.alarms,
            own_address=OWN,
            backoff=Backoff(0, 0, jitter=lambda: 0),
            monotonic=lambda: self.time.monotonic_s,
            pace=SessionPace(**pace),
        )

    def _make(self, url: str) -> Any:
        self.made.append(url)
        waiting = self.clients[url]
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


def unreachable() -> HubClosedError:
    return HubClosedError("unreachable", "nobody there")
