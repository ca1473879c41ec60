"""Payments of a unit: no coin twice, nothing from nowhere, nothing lost, fees paid to the byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devnet.agent import BASE
from devnet.outputs import Issue, LedgerOutput, Source
from devnet.state import LedgerState, RejectedError
from shared.obyte.coins import Outpoint
from shared.obyte.units import MAX_AMOUNT

if TYPE_CHECKING:
    from devnet.dag import Sequence

_TRANSFER_FIELDS = frozenset({"unit", "message_index", "output_index"})
_ISSUE_FIELDS = frozenset({"type", "amount", "serial_number", "address"})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the payloads of a unit are judged against."""

    state: LedgerState
    unit: dict[str, Any]
    authors: tuple[str, ...]
    parents: tuple[str, ...]
    last_ball_mci: int


class PaymentCheck:
    """Checks the payments of one unit together: no coin twice, nothing from nowhere, nothing lost."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._used: set[Source] = set()
        self.has_base_payment = False
        self.sequence: Sequence = "good"
        """The worst sequence among the coins spent: the unit inherits it."""

    def check(self, payload: dict[str, Any]) -> None:
        """Check one payment message. Raises RejectedError."""
        asset = payload.get("asset", BASE)
        if payload.keys() - {"asset"} != {"inputs", "outputs"}:
            raise RejectedError("unknown fields in payment message")
        if asset == BASE:
            if self.has_base_payment:
                raise RejectedError("can have only one base payment")
            self.has_base_payment = True
        else:
            self._check_asset_known(asset)
        total_output = self._check_outputs(payload["outputs"])
        total_input = 0
        for index, spent in enumerate(payload["inputs"]):
            total_input += self._spend(spent, asset, is_first=index == 0)
        if total_input > MAX_AMOUNT:
            raise RejectedError(f"total input too large: {total_input}")
        owed = total_output + (self._fees() if asset == BASE else 0)
        if total_input != owed:
            raise RejectedError(f"inputs and outputs do not balance: {total_input} !== {owed}")

    def _fees(self) -> int:
        unit = self._around.unit
        names = ("headers_commission", "payload_commission", "oversize_fee", "tps_fee", "burn_fee")
        return sum(int(unit.get(name, 0)) for name in names)

    def _check_asset_known(self, asset: str) -> None:
        known = self._around.state.assets.get(asset)
        if known is None or known.defined_mci > self._around.last_ball_mci:
            raise RejectedError(f"asset {asset} not found before last ball")

    def _check_outputs(self, outputs: list[dict[str, Any]]) -> int:
        order = [(output["address"], output["amount"]) for output in outputs]
        if any(output.keys() != {"address", "amount"} for output in outputs):
            raise RejectedError("unknown fields in payment output")
        if order != sorted(order):
            raise RejectedError("output addresses or amounts not sorted")
        total = sum(int(amount) for _, amount in order)
        if total > MAX_AMOUNT:
            raise RejectedError(f"total output too large: {total}")
        return total

    def _spend(self, spent: dict[str, Any], asset: str, *, is_first: bool) -> int:
        kind = spent.get("type")
        if kind == "issue":
            return self._issue(spent, asset, is_first=is_first)
        if kind is not None:
            raise RejectedError(f"zero {kind} commission")  # nothing is ever earned here
        if spent.keys() != _TRANSFER_FIELDS:
            raise RejectedError("unknown fields in payment input")
        outpoint = Outpoint(spent["unit"], spent["message_index"], spent["output_index"])
        self._use(outpoint)
        output = self._owned(outpoint, asset)
        self._inherit_sequence(outpoint)
        self._check_not_spent(outpoint)
        return output.amount

    def _owned(self, outpoint: Outpoint, asset: str) -> LedgerOutput:
        if outpoint.unit not in self._around.state.dag.records:
            raise RejectedError(f"input unit {outpoint.unit} not found", is_final=False)
        output = self._around.state.outputs.get(outpoint)
        if output is None:
            raise RejectedError(f"output being spent {outpoint.unit} not found")
        if output.asset != asset:
            raise RejectedError("asset mismatch")
        if output.address not in self._around.authors:
            raise RejectedError("output owner is not among authors")
        return output

    def _inherit_sequence(self, outpoint: Outpoint) -> None:
        dag = self._around.state.dag
        source = dag.records[outpoint.unit]
        is_settled = source.is_stable and source.mci is not None and source.mci <= self._around.last_ball_mci
        if is_settled and source.sequence != "good":
            raise RejectedError(f"spending a stable final-bad output {outpoint.unit}")
        if not is_settled and not dag.includes(source, self._around.parents):
            raise RejectedError(f"input {outpoint.unit} is not in your genes")
        if source.sequence != "good" and self.sequence != "final-bad":
            self.sequence = source.sequence

    def _issue(self, spent: dict[str, Any], asset: str, *, is_first: bool) -> int:
        if asset == BASE:
            raise RejectedError("only genesis can issue base asset")
        known = self._around.state.assets[asset]
        authors = self._around.authors
        fields = _ISSUE_FIELDS - {"address"} if len(authors) == 1 else _ISSUE_FIELDS
        if not is_first or spent.keys() != fields:
            raise RejectedError("issue must come first and have no unknown fields")
        if spent.get("address", authors[0]) != known.definer or known.definer not in authors:
            raise RejectedError("only definer can issue this asset")
        if spent["serial_number"] != 1 or spent["amount"] != known.cap:
            raise RejectedError("issue must be equal to cap, with serial_number 1")
        issue = Issue(asset, 1)
        self._use(issue)
        self._check_not_spent(issue)
        return known.cap

    def _use(self, source: Source) -> None:
        if source in self._used:
            raise RejectedError(f"input {source} already used")
        self._used.add(source)

    def _check_not_spent(self, source: Source) -> None:
        state = self._around.state
        for spender in state.outputs.spenders(source):
            if state.dag.includes(state.dag.records[spender], self._around.parents):
                raise RejectedError(f"conflicting divisible input in inner unit {spender}")
