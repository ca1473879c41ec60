"""What the network votes on, as hubs tell it: order providers and fees (Obyte, system variables; ocore `storage.js`).

A hub tells the whole history of each variable, newest first. A value is in force from the index after its vote was
counted. None of this is proven: a false threshold makes a unit be refused, a false list of order providers only
raises an alarm, because proofs are checked against the pinned list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from shared.obyte.chash import is_valid_address
from shared.obyte.hub_errors import HubAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shared.obyte.serialization import JsonValue

INITIAL_THRESHOLD_SIZE = 10_000
MAX_VOTES = 10_000
"""Longer histories are no histories: votes are counted days apart."""
MAX_ORDER_PROVIDERS = 20
_MOST_THRESHOLD_SIZE = 1_000_000_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Vote(Generic[T]):
    """One value of a variable, in force above the main chain index at which it was counted."""

    vote_count_mci: int
    value: T
    is_emergency: bool = False


@dataclass(frozen=True, slots=True)
class SystemVariables:
    """The history of each variable, newest first. Built by `read_system_variables`."""

    op_lists: tuple[Vote[tuple[str, ...]], ...]
    threshold_sizes: tuple[Vote[int], ...]
    base_tps_fees: tuple[Vote[float], ...]
    tps_intervals: tuple[Vote[float], ...]
    tps_fee_multipliers: tuple[Vote[float], ...]

    def order_providers(self, mci: int | None = None) -> tuple[str, ...]:
        """Return the sorted list in force at an index, or the newest one. Raises HubAnswerError if none is told."""
        return in_force(self.op_lists, mci, "op_list")

    def threshold_size(self, mci: int | None = None) -> int:
        """Return the size in bytes above which a unit pays the oversize fee."""
        return in_force(self.threshold_sizes, mci, "threshold_size")


def in_force(votes: tuple[Vote[T], ...], mci: int | None, name: str = "system variable") -> T:
    """Return the value that holds at an index: the newest one counted before it; the newest of all for None."""
    for vote in votes:
        if mci is None or mci > vote.vote_count_mci:
            return vote.value
    raise HubAnswerError("get_system_vars", f"{name} has no value for index {mci}")


def read_system_variables(answer: JsonValue) -> SystemVariables:
    """Read the body of `system_vars`, or the answer to `get_system_vars`. Raises HubAnswerError."""
    if not isinstance(answer, dict):
        raise HubAnswerError("get_system_vars", "it must be an object")

    def votes(name: str, read: Callable[[JsonValue], T | None]) -> tuple[Vote[T], ...]:
        return _read_votes(answer.get(name), name, read)

    return SystemVariables(
        op_lists=votes("op_list", _op_list),
        threshold_sizes=votes("threshold_size", _threshold_size),
        base_tps_fees=votes("base_tps_fee", _positive),
        tps_intervals=votes("tps_interval", _positive),
        tps_fee_multipliers=votes("tps_fee_multiplier", _positive),
    )


def _read_votes(entries: JsonValue, name: str, read: Callable[[JsonValue], T | None]) -> tuple[Vote[T], ...]:
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_VOTES:
        raise HubAnswerError("get_system_vars", f"{name} must be a history of at most {MAX_VOTES} values")
    votes: list[Vote[T]] = []
    for entry in entries:
        counted = entry.get("vote_count_mci") if isinstance(entry, dict) else None
        value = read(entry.get("value")) if isinstance(entry, dict) else None
        if type(counted) is not int or counted < -1 or value is None:
            raise HubAnswerError("get_system_vars", f"{name} must list vote_count_mci and a possible value")
        # Equal indexes: an emergency count may happen at the index of an ordinary one.
        if votes and counted > votes[-1].vote_count_mci:
            raise HubAnswerError("get_system_vars", f"{name} must be listed from the newest value on")
        votes.append(Vote(counted, value, is_emergency=bool(entry.get("is_emergency"))))
    return tuple(votes)


def _op_list(value: JsonValue) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_ORDER_PROVIDERS:
        return None
    if not all(isinstance(address, str) and is_valid_address(address) for address in value):
        return None
    addresses = tuple(sorted({str(address) for address in value}))
    return addresses if len(addresses) == len(value) else None


def _threshold_size(value: JsonValue) -> int | None:
    is_possible = type(value) is int and 0 < value <= _MOST_THRESHOLD_SIZE
    return int(str(value)) if is_possible else None


def _positive(value: JsonValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        return None
    return value


@dataclass(frozen=True, slots=True)
class ProviderDifference:
    """In what a list of order providers differs from the pinned one."""

    pinned_only: tuple[str, ...]
    named_only: tuple[str, ...]
    matters: bool
    """More than one is different, or so many that the pinned ones could no longer settle a question."""


def compare_order_providers(pinned: Iterable[str], named: Iterable[str]) -> ProviderDifference:
    """Compare two lists. One order provider more or less is a vote like any other; more change who decides."""
    ours, theirs = frozenset(pinned), frozenset(named)
    missing, new = tuple(sorted(ours - theirs)), tuple(sorted(theirs - ours))
    tolerated = min(1, len(ours) // 2)
    return ProviderDifference(missing, new, max(len(missing), len(new)) > tolerated)
