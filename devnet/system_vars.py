"""What the network votes on: the variables that sizes and fees depend on (Obyte, system variables)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.obyte.serialization import JsonValue

MAX_FEE = 9_000_000_000_000_000
_CONTEXT = Context(prec=15)
_MAX_POWER = 40.0  # e^40 is more than all the money there is


@dataclass(frozen=True, slots=True)
class SystemVars:
    """The values in force at one time.

    `tps_interval` is units per second; the default suits a ledger that is loaded in bursts and on one machine. Lower
    it to meet the fee spikes of a busy network.
    """

    threshold_size: int = 10_000
    base_tps_fee: float = 10
    tps_interval: float = 1_000
    tps_fee_multiplier: float = 10

    def fee_per_unit(self, units_per_s: float) -> int:
        """Bytes one unit pays at this load, before the multiplier for units whose load is still uncertain."""
        return self._fee(units_per_s, 1)

    def careful_fee_per_unit(self, units_per_s: float) -> int:
        """Bytes one unit has to offer at this load."""
        return self._fee(units_per_s, self.tps_fee_multiplier)

    def _fee(self, units_per_s: float, multiplier: float) -> int:
        power = units_per_s / self.tps_interval
        if power > _MAX_POWER:
            return MAX_FEE
        growth = float(_CONTEXT.exp(Decimal(power))) - 1
        return min(MAX_FEE, math.floor(multiplier * self.base_tps_fee * growth + 0.5))


class Votes:
    """All values there were. The order providers are those of genesis: here nobody can vote them out."""

    def __init__(self, op_list: tuple[str, ...], initial: SystemVars) -> None:
        self.op_list = op_list
        self._history = [(-1, initial)]

    def at(self, mci: int) -> SystemVars:
        """Return the values in force for units whose last ball has this main chain index."""
        return next(values for counted, values in reversed(self._history) if mci > counted)

    def count(self, mci: int, subject: str, value: float) -> None:
        """Put another value in force for last balls above `mci`. Raises ValueError."""
        if subject not in asdict(self._history[-1][1]):
            raise ValueError(f"nobody votes on {subject} here")
        if isinstance(value, bool) or not 0 < value < MAX_FEE or (subject == "threshold_size" and value != int(value)):
            raise ValueError("the value of a system variable must be a positive number, a size an integer")
        change: dict[str, Any] = {subject: value}
        self._history.append((mci, replace(self._history[-1][1], **change)))

    def as_json(self) -> dict[str, JsonValue]:
        """Return the answer to `get_system_vars`: per subject its history, newest first."""
        told: dict[str, JsonValue] = {"op_list": [_entry(-1, list(self.op_list))]}
        for subject in asdict(self._history[0][1]):
            entries: list[JsonValue] = []
            before: Any = None
            for counted, values in self._history:
                value = getattr(values, subject)
                if value != before:
                    entries.insert(0, _entry(counted, value))
                before = value
            told[subject] = entries
        return told


def _entry(counted: int, value: JsonValue) -> JsonValue:
    return {"vote_count_mci": counted, "value": value, "is_emergency": 0}
