"""Which free ends of the graph a new unit should grow from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from devnet.dag import rank
from devnet.fees import MAX_AA_RESPONSES
from devnet.state import LedgerState, RejectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from devnet.dag import UnitRecord
    from shared.obyte.serialization import JsonValue

MAX_PARENTS = 16


@dataclass(frozen=True, slots=True)
class ParentsOffer:
    """Where a unit may attach and what that costs; all of it goes stale as the ledger grows."""

    timestamp_s: int
    parents: tuple[str, ...]
    last_ball: UnitRecord
    tps_fee: int
    triggered_agents: int

    def as_json(self) -> dict[str, JsonValue]:
        """Return the hub's answer to a request for parents."""
        return {
            "timestamp": self.timestamp_s,
            "parent_units": list(self.parents),
            "last_stable_mc_ball": self.last_ball.ball,
            "last_stable_mc_ball_unit": self.last_ball.hash,
            "last_stable_mc_ball_mci": self.last_ball.mci,
            "tps_fee": self.tps_fee,
            "count_primary_aa_triggers": self.triggered_agents,
        }


def offer_parents(
    state: LedgerState,
    now_s: float,
    from_addresses: Sequence[str],
    output_addresses: Iterable[str] = (),
    max_aa_responses: int = MAX_AA_RESPONSES,
    *,
    for_provider: bool = False,
) -> ParentsOffer:
    """Find parents that include all units of `from_addresses`, for a unit that pays `output_addresses`.

    The provider passes `for_provider`: its units alone include units in conflict, so that one of them can win, and
    have to stand on each other.
    """
    parents = _choose(state, from_addresses, for_provider=for_provider)
    last_ball = _last_ball(state, parents)
    timestamp_s = max([int(now_s + 0.5), *(record.timestamp_s for record in parents)])
    triggered = sum(address in state.agents for address in set(output_addresses))
    hashes = tuple(sorted(record.hash for record in parents))
    fee = state.fees.required(hashes, last_ball, timestamp_s, triggered, max_aa_responses)
    balance = state.fees.balance(from_addresses[0], last_ball.mci or 0)
    return ParentsOffer(timestamp_s, hashes, last_ball, max(0, fee - balance), triggered)


def _choose(state: LedgerState, from_addresses: Sequence[str], *, for_provider: bool) -> list[UnitRecord]:
    ends = list(state.dag.tips.values())
    if for_provider:
        ends = _ends_on_provider_chain(state, _ends_below(state, ends, lambda end: not _rests_on_shunned(state, end)))
    else:
        ends = _ends_below(state, ends, lambda end: end.sequence == "good")
    own = [record for address in from_addresses for record in state.live_units_by_author.get(address, ())[-1:]]
    # What the author has written must be below, then the provider's newest unit; the rest is courtesy.
    ends.sort(key=lambda end: (not any(state.dag.includes(record, [end.hash]) for record in own), rank(end)))
    chosen: list[UnitRecord] = []
    authors: set[str] = set()
    for end in ends:
        if len(chosen) < MAX_PARENTS and authors.isdisjoint(end.authors):
            chosen.append(end)
            authors.update(end.authors)
    if all(end.is_agent for end in chosen):
        raise RejectedError("unable to find parents: no usable non-AA free units", is_final=False)
    return chosen


def _ends_on_provider_chain(state: LedgerState, ends: list[UnitRecord]) -> list[UnitRecord]:
    """Leave out ends that would lead the chain of best parents past the provider's newest unit.

    The unit that the provider makes now outweighs them, so they come in with its next one.
    """
    newest = state.dag.main_chain[-1]
    if any(end.witnessed_level == newest.level for end in ends):
        return ends  # one stands on the newest unit, and so outweighs all that do not
    outweighed = (end for end in ends if end is not newest and rank(newest) < rank(end))
    return [newest, *(end for end in outweighed if not state.dag.includes(newest, [end.hash]))]


def _rests_on_shunned(state: LedgerState, end: UnitRecord) -> bool:
    return any(state.dag.includes(state.dag.records[unit], [end.hash]) for unit in state.shunned)


def _ends_below(state: LedgerState, ends: list[UnitRecord], is_good: Callable[[UnitRecord], bool]) -> list[UnitRecord]:
    """Go below ends that are not good until good units are reached that no other end includes."""
    good: dict[str, UnitRecord] = {}
    pending = list(ends)
    while pending:
        end = pending.pop()
        if is_good(end):
            good[end.hash] = end
        else:
            pending.extend(state.dag.parents_of(end))
    if good.keys() == {end.hash for end in ends}:
        return ends
    return [end for end in good.values() if not state.dag.includes(end, [other for other in good if other != end.hash])]


def _last_ball(state: LedgerState, parents: list[UnitRecord]) -> UnitRecord:
    mci = state.last_stable_mci
    hashes = [record.hash for record in parents]
    while not state.dag.is_stable_in_view_of(state.dag.main_chain[mci], hashes):
        mci -= 1
    return state.dag.main_chain[mci]
