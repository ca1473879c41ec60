"""The graph of units: who includes whom, and the main chain through it (Obyte, ocore `storage.js`, `main_chain.js`).

The real network weighs twelve order providers against each other; here there is one, run by the ledger itself.

* The witnessed level of a unit is the level of the next provider unit below it on its chain of best parents. That the
  unit is a provider's itself counts only for those above it. It never falls from parents to children.
* The best parent is the one with the highest witnessed level; of several, the one least far above it; then a
  provider's unit; then the smallest hash. Full nodes choose the same.
* The provider takes care (`parents`) that every one of its units stands on the one before by a chain of best parents.
  So no branch beside that chain ever has a provider unit, and the main chain, ending in the newest of them, only grows.
* A main chain unit is stable in view of a unit in whose past there are two more provider units. Full nodes count the
  main chain unit too when it is a provider's, so for them a provider's units are stable one provider unit earlier.
  What is stable here is stable there, under the same index.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shared.obyte.serialization import JsonValue

PROVIDER_UNITS_TO_STABILITY = 2

Sequence: TypeAlias = Literal["good", "temp-bad", "final-bad"]
"""good; in conflict with another unit of an author, undecided; lost the conflict, void for ever."""


@dataclass(slots=True, eq=False)
class UnitRecord:
    """A unit and what the ledger has found out about it so far; `unit` is the hashed object, without hub fields."""

    hash: str
    unit: dict[str, JsonValue] = field(repr=False)
    authors: tuple[str, ...]
    parents: tuple[str, ...]
    level: int
    best_parent: str | None
    witnessed_level: int
    """Level of the next provider unit below on the chain of best parents."""
    provider_count: int
    """Number of provider units in its past and itself."""
    timestamp_s: int
    last_ball_mci: int
    is_provider: bool = False
    is_agent: bool = False
    triggered_agents: int = 0
    """How many agents it pays that were known as of its last ball: they raise its TPS fee."""
    sequence: Sequence = "good"
    mci: int | None = None
    """Index of the first main chain unit that includes this one, None until there is one."""
    is_on_main_chain: bool = False
    seen_mci: int = -1
    """Highest index of a main chain unit in its past or itself; known once `mci` is."""
    is_stable: bool = False
    ball: str | None = None
    skiplist_units: tuple[str, ...] = ()
    response_count: int = 0
    actual_tps_fee: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a unit with certain parents stands in the graph; the fields are those of `UnitRecord`."""

    level: int
    best_parent: str
    witnessed_level: int
    provider_count: int


class Dag:
    """All units of the ledger, its free ends and its main chain."""

    def __init__(self) -> None:
        self.records: dict[str, UnitRecord] = {}
        self._children: dict[str, list[UnitRecord]] = {}
        self.tips: dict[str, UnitRecord] = {}
        self.main_chain: list[UnitRecord] = []
        self.by_mci: list[list[UnitRecord]] = []
        """Units by main chain index, in order of (level, hash): the order in which things happen."""

    def add(self, record: UnitRecord) -> None:
        """Attach a unit whose parents are here."""
        self.records[record.hash] = record
        for parent in record.parents:
            self.tips.pop(parent, None)
            self._children.setdefault(parent, []).append(record)
        self.tips[record.hash] = record

    def remove(self, record: UnitRecord) -> None:
        """Take a unit out again that has no children and no index."""
        del self.records[record.hash], self.tips[record.hash]
        for parent in self.parents_of(record):
            siblings = self._children[parent.hash]
            siblings.remove(record)
            if not siblings:
                del self._children[parent.hash]
                self.tips[parent.hash] = parent

    def parents_of(self, record: UnitRecord) -> Iterator[UnitRecord]:
        """Yield the parents of a unit."""
        return (self.records[parent] for parent in record.parents)

    def children_of(self, record: UnitRecord) -> Iterable[UnitRecord]:
        """Return the units that have this one for a parent."""
        return self._children.get(record.hash, ())

    def best_of(self, parents: Iterable[str]) -> UnitRecord:
        """Choose the best of several parents."""
        return min((self.records[parent] for parent in parents), key=rank)

    def place_on(self, parents: Iterable[str], *, is_provider: bool = False) -> Place:
        """Find out where a new unit with these parents will stand."""
        records = [self.records[parent] for parent in parents]
        best = min(records, key=rank)
        return Place(
            level=1 + max(record.level for record in records),
            best_parent=best.hash,
            witnessed_level=best.level if best.is_provider else best.witnessed_level,
            provider_count=max(record.provider_count for record in records) + is_provider,
        )

    def includes(self, earlier: UnitRecord, later: Iterable[str]) -> bool:
        """Whether `earlier` is one of the units `later` or in the past of one."""
        stack = [self.records[unit] for unit in later]
        seen: set[str] = set()
        while stack:
            record = stack.pop()
            if record is earlier:
                return True
            if record.level <= earlier.level or record.hash in seen:
                continue
            seen.add(record.hash)
            if record.mci is not None:
                # Everything below a unit with an index has one too, and a main chain unit includes all up to its own.
                if earlier.mci is None or earlier.mci > record.mci:
                    continue
                if earlier.mci <= record.seen_mci:
                    return True
            stack.extend(self.parents_of(record))
        return False

    def unindexed_past(self, units: Iterable[str]) -> list[UnitRecord]:
        """List the units `units` and those in their past that no main chain unit includes yet, lowest level first."""
        found: dict[str, UnitRecord] = {}
        stack = [self.records[unit] for unit in units]
        while stack:
            record = stack.pop()
            if record.mci is None and record.hash not in found:
                found[record.hash] = record
                stack.extend(self.parents_of(record))
        return sorted(found.values(), key=lambda r: (r.level, r.hash))

    def beyond_main_chain(self, record: UnitRecord) -> tuple[list[UnitRecord], int]:
        """Return which units of its past, itself included, no main chain unit there includes, and the newest index."""
        fresh = self.unindexed_past([record.hash])
        indexed = {parent.hash: parent for unit in fresh for parent in self.parents_of(unit) if parent.mci is not None}
        if record.mci is not None:
            indexed[record.hash] = record
        seen_mci = max(unit.seen_mci for unit in indexed.values())
        stack = list(indexed.values())
        beyond = {unit.hash: unit for unit in fresh}
        while stack:
            unit = stack.pop()
            if unit.mci is not None and unit.mci > seen_mci and unit.hash not in beyond:
                beyond[unit.hash] = unit
                stack.extend(self.parents_of(unit))
        return list(beyond.values()), seen_mci

    def extend_main_chain(self, provider_unit: UnitRecord) -> None:
        """Let the main chain end in the provider's new unit and give an index to all that it includes."""
        path = []
        record = provider_unit
        while record.mci is None:
            path.append(record)
            if record.best_parent is None:
                break
            record = self.records[record.best_parent]
        for main_chain_unit in reversed(path):
            self._append(main_chain_unit)

    def is_stable_in_view_of(self, record: UnitRecord, parents: Iterable[str]) -> bool:
        """Whether a main chain unit is settled for whoever knows only `parents` and their past."""
        if record.mci == 0:
            return True
        count = max(self.records[parent].provider_count for parent in parents)
        return count - record.provider_count >= PROVIDER_UNITS_TO_STABILITY

    def _append(self, main_chain_unit: UnitRecord) -> None:
        mci = len(self.main_chain)
        covered = self.unindexed_past([main_chain_unit.hash])
        for record in covered:
            record.mci = mci
            record.seen_mci = max((parent.seen_mci for parent in self.parents_of(record)), default=-1)
        main_chain_unit.is_on_main_chain = True
        main_chain_unit.seen_mci = mci
        self.main_chain.append(main_chain_unit)
        self.by_mci.append(covered)


def rank(record: UnitRecord) -> tuple[int, int, bool, str]:
    """Sort key by which parents compete: the best comes first."""
    distance = record.level - record.witnessed_level
    return (-record.witnessed_level, distance, not record.is_provider, record.hash)
