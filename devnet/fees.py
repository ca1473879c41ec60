"""The fee for arriving when others do (Obyte, TPS fee).

A unit pays for the load it meets: base fee x (e^(units per second / interval) - 1) for itself and for every response
it may cause. What it paid above the load that was there in the end stays on the balance of its author.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

from devnet.system_vars import MAX_FEE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from devnet.dag import Dag, UnitRecord
    from devnet.system_vars import Votes
    from shared.obyte.serialization import JsonValue

MAX_AA_RESPONSES = 10


class TpsFees:
    """Counts the load and keeps the fee balance of every address as of every main chain index."""

    def __init__(self, dag: Dag, votes: Votes) -> None:
        self._dag = dag
        self._votes = votes
        self._balances: dict[str, tuple[list[int], list[int]]] = {}
        self._offered: list[int] = []
        """Paying units up to each index, responses counted as offered by the triggers."""
        self._caused: list[int] = []
        """The same with the responses that really came."""
        self._fresh: dict[str, tuple[int, int]] = {}

    def index(self, mci: int) -> None:
        """Count the units of a new main chain index."""
        self._fresh.clear()
        units = self._dag.by_mci[mci]
        self._offered.append(_last(self._offered) + sum(paying_units(record) for record in units))

    def required(
        self, parents: Iterable[str], last_ball: UnitRecord, timestamp_s: int, triggered_agents: int, responses: int
    ) -> int:
        """Bytes a unit with these parents must pay, before what its author has on balance."""
        units = 1 + triggered_agents * responses
        fresh, seen = self._fresh_load(self._dag.best_of(parents))
        count = units + fresh
        if last_ball.mci is not None and seen > last_ball.mci:
            count += self._offered[seen] - self._offered[last_ball.mci]
        elapsed_s = timestamp_s - last_ball.timestamp_s or 1
        price = self._votes.at(last_ball.mci or 0)
        return min(MAX_FEE, units * price.careful_fee_per_unit(count / elapsed_s))

    def _fresh_load(self, record: UnitRecord) -> tuple[int, int]:
        """Return paying units in a unit's past that no main chain unit there includes, and the newest index there.

        Units mostly come in a chain, so what is known of the one parent is kept until indexes change.
        """
        if record.is_on_main_chain:
            return 0, record.seen_mci
        known = self._fresh.get(record.hash)
        if known is None:
            parents = list(self._dag.parents_of(record))
            below = self._fresh.get(parents[0].hash) if len(parents) == 1 else None
            if below is None:
                beyond, seen = self._dag.beyond_main_chain(record)
                known = sum(map(paying_units, beyond)), seen
            else:
                known = below[0] + paying_units(record), below[1]
            self._fresh[record.hash] = known
        return known

    def forget(self, record: UnitRecord) -> None:
        """Count a unit no more that is not on the graph any more."""
        self._fresh.pop(record.hash, None)

    def settle(self, mci: int) -> None:
        """Charge the units of a stable index what the load really was, and keep the rest for their authors."""
        units = [record for record in self._dag.by_mci[mci] if not record.is_agent]
        self._caused.append(_last(self._caused) + sum(1 + record.response_count for record in units))
        if mci == 0:
            return
        main_chain_unit = self._dag.main_chain[mci]
        last_ball = self._dag.main_chain[main_chain_unit.last_ball_mci]
        price = self._votes.at(main_chain_unit.last_ball_mci)
        elapsed_s = main_chain_unit.timestamp_s - last_ball.timestamp_s or 1
        count = self._caused[mci] - self._caused[main_chain_unit.last_ball_mci]
        for record in units:
            if record.sequence == "good":
                load = count - self._load_beside(record, main_chain_unit)
                per_unit = price.fee_per_unit(load / elapsed_s)
                record.actual_tps_fee = per_unit * (1 + record.response_count)
                self._credit(record, mci, _paid(record) - record.actual_tps_fee)

    def _load_beside(self, record: UnitRecord, main_chain_unit: UnitRecord) -> int:
        """Return the load that the main chain unit of an index sees only through a unit's parents but the best one.

        A unit is not charged for it. Units count while some way leads down to them, past agents' units.
        """
        last_ball_mci, mci = main_chain_unit.last_ball_mci, main_chain_unit.mci or 0
        beside: dict[str, UnitRecord] = {}
        stack = [parent for parent in self._dag.parents_of(record) if parent.hash != record.best_parent]
        while stack:
            unit = stack.pop()
            if unit.hash in beside or unit.is_agent or unit.mci is None or unit.mci <= last_ball_mci:
                continue
            above = (child for child in self._dag.children_of(unit) if child is not record and not child.is_agent)
            if not any(child.mci is not None and child.mci <= mci and child.hash not in beside for child in above):
                beside[unit.hash] = unit
                stack.extend(self._dag.parents_of(unit))
        return sum(1 + unit.response_count for unit in beside.values())

    def balance(self, address: str, mci: int) -> int:
        """Overpaid bytes of an address, negative when it paid too little, as of a main chain index."""
        mcis, balances = self._balances.get(address, ((), ()))
        position = bisect_right(mcis, mci)
        return balances[position - 1] if position else 0

    def _credit(self, record: UnitRecord, mci: int, amount: int) -> None:
        for address, share in fee_shares(record.unit).items():
            mcis, balances = self._balances.setdefault(address, ([], []))
            balance = (balances[-1] if balances else 0) + math.floor(amount * share / 100)
            if mcis and mcis[-1] == mci:
                balances[-1] = balance
            else:
                mcis.append(mci)
                balances.append(balance)


def paying_units(record: UnitRecord) -> int:
    """Return how many units a unit pays for: itself and every response it allows; agents pay nothing."""
    if record.is_agent:
        return 0
    allowed = record.unit.get("max_aa_responses", MAX_AA_RESPONSES)
    return 1 + record.triggered_agents * (allowed if isinstance(allowed, int) else MAX_AA_RESPONSES)


def fee_shares(unit: dict[str, JsonValue]) -> dict[str, int]:
    """Per cent of the TPS fee that each address answers for."""
    recipients = unit.get("earned_headers_commission_recipients")
    if isinstance(recipients, list):
        return {recipient["address"]: recipient["earned_headers_commission_share"] for recipient in recipients}
    authors = unit["authors"]
    return {authors[0]["address"]: 100} if isinstance(authors, list) else {}


def _paid(record: UnitRecord) -> int:
    paid = record.unit.get("tps_fee", 0)
    return paid if isinstance(paid, int) else 0


def _last(sums: list[int]) -> int:
    return sums[-1] if sums else 0
