"""Who owns what: the outputs of all units and what spends them.

A double spend is not refused here (conflicting units may both be on the graph until one of them wins), so an output
has a list of spenders. Only the voiding of a unit takes its money back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from shared.obyte.coins import BASE, Outpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.obyte.serialization import JsonValue


@dataclass(frozen=True, slots=True)
class Issue:
    """The one coin of a capped asset that comes from nowhere."""

    asset: str
    serial_number: int


Source: TypeAlias = Outpoint | Issue
"""What an input spends."""


@dataclass(frozen=True, slots=True)
class LedgerOutput:
    """An output on the ledger; `amount` in the smallest unit of `asset`, "base" or the asset's unit hash."""

    outpoint: Outpoint
    address: str
    asset: str
    amount: int


class OutputTable:
    """All outputs of all units, those unspent by owner."""

    def __init__(self) -> None:
        self._outputs: dict[Outpoint, LedgerOutput] = {}
        self._unspent: dict[str, dict[Outpoint, LedgerOutput]] = {}
        self._spenders: dict[Source, list[str]] = {}

    def add(self, unit_hash: str, unit: Mapping[str, JsonValue]) -> None:
        """Book the payments of an accepted unit."""
        for source in sources(unit):
            self._spenders.setdefault(source, []).append(unit_hash)
            if isinstance(source, Outpoint):
                self._unspent[self._outputs[source].address].pop(source, None)
        for output in outputs_of(unit_hash, unit):
            self._outputs[output.outpoint] = output
            self._unspent.setdefault(output.address, {})[output.outpoint] = output

    def void(self, unit_hash: str, unit: Mapping[str, JsonValue]) -> None:
        """Take back the payments of a unit that lost to a conflicting one."""
        for output in outputs_of(unit_hash, unit):
            self._unspent[output.address].pop(output.outpoint, None)
        for source in sources(unit):
            spenders = self._spenders[source]
            spenders.remove(unit_hash)
            if isinstance(source, Outpoint) and not spenders:
                freed = self._outputs[source]
                self._unspent[freed.address][source] = freed

    def get(self, outpoint: Outpoint) -> LedgerOutput | None:
        """Return the output there, spent or not."""
        return self._outputs.get(outpoint)

    def spenders(self, source: Source) -> tuple[str, ...]:
        """Hashes of the units that spend it and are not void; more than one while a conflict is open."""
        return tuple(self._spenders.get(source, ()))

    def unspent(self, address: str) -> tuple[LedgerOutput, ...]:
        """Outputs of an address that nothing spends, in order of arrival."""
        return tuple(self._unspent.get(address, {}).values())


def payments(unit: Mapping[str, JsonValue]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the index and payload of every public payment message of a checked unit."""
    messages: Any = unit.get("messages", ())
    for index, message in enumerate(messages):
        if message["app"] == "payment" and "payload" in message:
            yield index, message["payload"]


def outputs_of(unit_hash: str, unit: Mapping[str, JsonValue]) -> Iterator[LedgerOutput]:
    """Yield all outputs of a checked unit."""
    for message_index, payload in payments(unit):
        asset = payload.get("asset", BASE)
        for output_index, output in enumerate(payload["outputs"]):
            outpoint = Outpoint(unit_hash, message_index, output_index)
            yield LedgerOutput(outpoint, output["address"], asset, output["amount"])


def sources(unit: Mapping[str, JsonValue]) -> Iterator[Source]:
    """Yield what the inputs of a checked unit spend."""
    for _, payload in payments(unit):
        for spent in payload["inputs"]:
            if spent.get("type") == "issue":
                yield Issue(payload.get("asset", BASE), spent["serial_number"])
            else:
                yield Outpoint(spent["unit"], spent["message_index"], spent["output_index"])
