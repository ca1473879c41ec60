"""Who wants to hear of what: turns ledger events into notifications (Obyte, watching)."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Protocol

from devnet.events import AgentResponded, LedgerEvent, UnitAdded, UnitsDisputed, UnitsProvable
from devnet.outputs import outputs_of, payments
from devnet.state import touched_addresses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from devnet.dag import UnitRecord
    from shared.obyte.serialization import JsonValue


class Watcher(Protocol):
    """Something that can be told: one connection."""

    def justsaying(self, subject: str, body: JsonValue = None) -> None:
        """Send a one-way message."""


class Watches:
    """Watches live as long as the connection that asked for them."""

    def __init__(self) -> None:
        self._by_address: dict[str, set[Watcher]] = defaultdict(set)
        self._by_unit: dict[str, set[Watcher]] = defaultdict(set)
        self._by_agent: dict[str, set[tuple[Watcher, str]]] = defaultdict(set)

    def watch_address(self, watcher: Watcher, address: str) -> None:
        """Tell of units that touch an address."""
        self._by_address[address].add(watcher)

    def watch_unit(self, watcher: Watcher, unit: str) -> None:
        """Tell when a unit becomes stable."""
        self._by_unit[unit].add(watcher)

    def watch_agent(self, watcher: Watcher, agent: str, address: str) -> None:
        """Tell of an agent's triggers and responses, all or only those that concern an address (else "")."""
        self._by_agent[agent].add((watcher, address))

    def forget(self, watcher: Watcher) -> None:
        """Drop all watches of a connection that is gone."""
        for index in (self._by_address, self._by_unit):
            for key in [key for key, watchers in index.items() if watcher in watchers]:
                index[key].discard(watcher)
                if not index[key]:
                    del index[key]
        for agent, watching in list(self._by_agent.items()):
            self._by_agent[agent] = {entry for entry in watching if entry[0] is not watcher}

    def tell(self, event: LedgerEvent) -> None:
        """Notify whoever watches what the event is about."""
        match event:
            case UnitAdded(record, source):
                self._tell_of_unit(record, source)
            case UnitsDisputed(records):
                self._tell_of_conflict(records)
            case UnitsProvable(records):
                for watcher in self._concerned(records):
                    watcher.justsaying("light/have_updates")
                for record in records:
                    self._by_unit.pop(record.hash, None)
            case AgentResponded(response):
                for watcher, address in self._by_agent.get(response.aa_address, ()):
                    if not address or _concerns(response.full, address):
                        watcher.justsaying("light/aa_response", response.full)

    def _tell_of_unit(self, record: UnitRecord, source: object) -> None:
        if record.sequence != "good":
            return
        # Hubs tell it once for every watched address that the unit touches.
        for watcher in [w for address in touched_addresses(record) for w in self._by_address.get(address, ())]:
            if watcher is source:
                continue
            if record.is_agent:
                watcher.justsaying("light/have_updates")  # a hint to ask for the agent's response too
            else:
                watcher.justsaying("joint", {"unit": record.unit})
        if not record.is_agent:
            self._tell_agent_watchers(record, source)

    def _tell_agent_watchers(self, record: UnitRecord, source: object) -> None:
        for agent in {output.address for output in outputs_of(record.hash, record.unit)}:
            for watcher, address in self._by_agent.get(agent, ()):
                if watcher is not source and (not address or address in record.authors):
                    watcher.justsaying("light/aa_request", {"aa_address": agent, "unit": record.unit})
        for base_agent in _instantiated(record.unit):
            for watcher, _ in self._by_agent.get(base_agent, ()):
                if watcher is not source:
                    watcher.justsaying("light/aa_definition", record.unit)

    def _tell_of_conflict(self, records: Iterable[UnitRecord]) -> None:
        bad: dict[Watcher, list[JsonValue]] = defaultdict(list)
        for record in records:
            for watcher in self._concerned([record]):
                bad[watcher].append(record.hash)
        for watcher, units in bad.items():
            watcher.justsaying("light/sequence_became_bad", units)

    def _concerned(self, records: Iterable[UnitRecord]) -> set[Watcher]:
        watchers: set[Watcher] = set()
        for record in records:
            watchers |= self._by_unit.get(record.hash, set())
            for address in touched_addresses(record):
                watchers |= self._by_address.get(address, set())
        return watchers


def _instantiated(unit: dict[str, Any]) -> list[str]:
    """Base agents of the agents a unit defines."""
    definitions = [message["payload"]["definition"] for message in unit["messages"] if message["app"] == "definition"]
    return [definition[1]["base_aa"] for definition in definitions if "base_aa" in definition[1]]


def _concerns(response: dict[str, Any], address: str) -> bool:
    if response["trigger_address"] == address or address in str(response["response"].get("error", "")):
        return True
    sent = response["objResponseUnit"]
    paid = [output["address"] for _, payload in payments(sent or {}) for output in payload["outputs"]]
    return address in paid
