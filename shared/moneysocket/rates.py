"""Exchange rates: what one unit of `base_code` is worth in `quote_code`, and when that was so."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shared.moneysocket.errors import WadError


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate. `value` is positive and finite, `timestamp_s` in Unix seconds. Raises WadError `bad_rate` otherwise."""

    base_code: str
    quote_code: str
    value: float
    timestamp_s: float = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be multiplied and divided by."""
        if not math.isfinite(self.value) or self.value <= 0:
            raise WadError("bad_rate", f"a rate is a positive number, not {self.value}")

    def includes(self, code: str) -> bool:
        """Whether this rate can convert from and to `code`."""
        return code in (self.base_code, self.quote_code)

    def other(self, code: str) -> str:
        """The currency at the other end; raises WadError `bad_rate` if the rate does not include `code`."""
        if not self.includes(code):
            raise WadError("bad_rate", f"the rate is between {self.base_code} and {self.quote_code}, not {code}")
        return self.quote_code if code == self.base_code else self.base_code

    def convert(self, value: float, code: str) -> tuple[float, str]:
        """Convert an amount of `code` into the currency at the other end: amount and its code.

        Raises WadError `bad_rate` if the rate does not include `code` or the result is too large for a double.
        """
        other = self.other(code)
        try:
            converted = value * self.value if code == self.base_code else value / self.value
        except OverflowError:
            converted = math.inf
        if not math.isfinite(converted):
            raise WadError("bad_rate", f"{other} has no number for that much {code}")
        return converted, other

    def inverted(self) -> Rate:
        """The same rate seen from the other end."""
        return Rate(self.quote_code, self.base_code, 1.0 / self.value, self.timestamp_s)


def derive_rate(base_code: str, quote_code: str, rates: tuple[Rate, Rate]) -> Rate:
    """Make a rate of two that share a third currency, as old as the older of them.

    Raises WadError `bad_rate` if they do not lead from `base_code` to `quote_code`.
    """
    first, second = rates if rates[0].includes(base_code) else rates[::-1]
    through, middle = first.convert(1.0, base_code)
    value, reached = second.convert(through, middle)
    if reached != quote_code:
        raise WadError("bad_rate", f"the two rates lead from {base_code} to {reached}, not to {quote_code}")
    return Rate(base_code, quote_code, value, min(first.timestamp_s, second.timestamp_s))
