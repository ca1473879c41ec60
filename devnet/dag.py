"""The graph of units: who includes whom, and the main chain through it.

The real network weighs twelve order providers against each other. Here one provider, run by the ledger itself and
always serial, decides alone, which makes the rules short:

* the best parent of a unit is the one with most provider units on its own chain of best parents;
* the main chain is the chain of best parents below the provider's newest unit, and once there it never changes,
  because every next provider unit includes the one before;
* a main chain unit is stable in view of a unit that has two more provider units above it on its chain.
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
    provider_depth: int
    """Number of provider units on the chain of best parents, this unit included."""
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


class Dag:
    """All units of the ledger, its free ends and its main chain."""

    def __init__(self) -> None:
        self.records: dict[str, UnitRecord] = {}
        self.tips: dict[str, UnitRecord] = {}
        self.main_chain: list[UnitRecord] = []
        self.by_mci: list[list[UnitRecord]] = []
        """Units by main chain index, in order of (level, hash): the order in which things happen."""

    def add(self, record: UnitRecord) -> None:
        """Attach a unit whose parents are here."""
        self.records[record.hash] = record
        for parent in record.parents:
            self.tips.pop(parent, None)
        self.tips[record.hash] = record

    def parents_of(self, record: UnitRecord) -> Iterator[UnitRecord]:
        """Yield the parents of a unit."""
        return (self.records[parent] for parent in record.parents)

    def best_of(self, parents: Iterable[str]) -> UnitRecord:
        """Choose the best of several parents."""
        return min((self.records[parent] for parent in parents), key=lambda r: (-r.provider_depth, r.level, r.hash))

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

    def highest_seen_mci(self, units: Iterable[str]) -> int:
        """Return the highest index of a main chain unit in the past of these units, themselves included."""
        units = list(units)
        past = self.unindexed_past(units)
        indexed = {parent for record in past for parent in record.parents} | set(units)
        return max(self.records[unit].seen_mci for unit in indexed)

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
        depth = max(self.records[parent].provider_depth for parent in parents)
        return depth - record.provider_depth >= PROVIDER_UNITS_TO_STABILITY

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
