"""Which coins a unit spends, and what it costs (Obyte, ocore `inputs.js`).

One coin if one suffices: the smallest, a stable one if possible. Else coins from the largest down, as few as will do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.obyte import units
from shared.obyte.coins import BASE, Coin
from shared.obyte.errors import CompositionError, FeeTooHighError, UnitError
from shared.obyte.hashing import length_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from shared.obyte.coins import Outpoint
    from shared.obyte.serialization import JsonValue

ALL_MONEY = 10**15
"""Bytes that there are."""
MAX_COINS = 126
"""The network allows 128 inputs; the reference leaves room for two more."""


def input_of(coin: Coin) -> dict[str, JsonValue]:
    """Return what spends a coin."""
    return {"unit": coin.unit, "message_index": coin.message_index, "output_index": coin.output_index}


INPUT_SIZE = length_of(input_of(Coin("-" * 44, 0, 0, "", BASE, 1)), with_keys=True)
"""Bytes that one input adds to the payload commission: 89."""


@dataclass(frozen=True, slots=True)
class Fees:
    """What a unit costs, in bytes."""

    headers: int
    payload: int
    oversize: int
    tps: int

    @property
    def total(self) -> int:
        """Everything the inputs pay beyond the outputs."""
        return self.headers + self.payload + self.oversize + self.tps


@dataclass(frozen=True, slots=True)
class FeeLimit:
    """What oversize and TPS fee together may be, in bytes; the commissions are what they are.

    Up to `ratio` times the commissions and not over `most`; but `granted` is paid in any case.
    """

    ratio: float = 100
    most: float = math.inf
    granted: int = 0

    def check(self, fees: Fees) -> None:
        """Raise FeeTooHighError (`fee_too_high`)."""
        allowed = max(self.granted, min(self.ratio * (fees.headers + fees.payload), self.most))
        if fees.oversize + fees.tps > allowed:
            raise FeeTooHighError(quoted=fees.oversize + fees.tps, allowed=allowed)


@dataclass(frozen=True, slots=True)
class Bill:
    """What the base inputs have to pay, in bytes; it grows with their number."""

    outputs: int
    headers: int
    payload_without_inputs: int
    tps: int
    threshold_size: int

    def fees(self, inputs: int) -> Fees:
        """What the unit costs with so many base inputs."""
        payload = self.payload_without_inputs + inputs * INPUT_SIZE
        try:
            oversize = units.oversize_fee(self.headers + payload, self.threshold_size)
        except UnitError as error:
            # The threshold is a hub's word, and may be any number.
            raise FeeTooHighError(quoted=ALL_MONEY, allowed=ALL_MONEY - 1) from error
        return Fees(self.headers, payload, oversize, self.tps)

    def required(self, inputs: int) -> int:
        """What so many base inputs have to exceed."""
        return self.outputs + self.fees(inputs).total


class Purse:
    """The coins a unit may spend. `contested`: where it can, it must spend one of these bytes (see `compose`)."""

    def __init__(self, coins: Iterable[Coin], contested: Collection[Outpoint] = ()) -> None:
        self._coins = sorted({coin.outpoint: coin for coin in coins}.values(), key=lambda coin: coin.outpoint)
        self._contested = contested

    def pick_base(self, bill: Bill) -> list[Coin]:
        """Coins worth strictly more than the bill: the base payment always has a change output.

        Raises CompositionError `not_enough_funds`.
        """
        coins = self._of(BASE)
        bound = [coin for coin in coins if coin.outpoint in self._contested]
        one = [coin for coin in bound or coins if coin.amount > bill.required(1)]
        if one:
            return [_smallest(one)]
        chosen: list[Coin] = []
        total = 0
        for coin in [*_largest_first(bound), *_largest_first(coin for coin in coins if coin not in bound)][:MAX_COINS]:
            chosen.append(coin)
            total += coin.amount
            if total > bill.required(len(chosen)):
                return chosen
        needed = bill.required(len(chosen))
        raise CompositionError("not_enough_funds", f"{total} bytes can be spent, more than {needed} are needed")

    def pick_asset(self, asset: str, amount: int) -> list[Coin]:
        """Coins of an asset worth at least the amount. Raises CompositionError `not_enough_funds`."""
        coins = self._of(asset)
        one = [coin for coin in coins if coin.amount >= amount]
        if one:
            return [_smallest(one)]
        chosen: list[Coin] = []
        total = 0
        for coin in _largest_first(coins):
            chosen.append(coin)
            total += coin.amount
            if total >= amount:
                return chosen
        raise CompositionError("not_enough_funds", f"{total} of asset {asset} can be spent, {amount} are needed")

    def pick_all(self, asset: str) -> list[Coin]:
        """All coins of an asset, the largest if there are more than a unit can spend. Raises `not_enough_funds`."""
        coins = _largest_first(self._of(asset))
        if not coins:
            raise CompositionError("not_enough_funds", f"nothing of asset {asset} can be spent")
        return coins

    def certain_bytes(self, spent: Sequence[Coin]) -> int:
        """Bytes that stay in the purse and that nobody else can take back: of stable units and of our own."""
        return sum(
            coin.amount for coin in self._of(BASE) if coin not in spent and (coin.is_stable or coin.author_is_mine)
        )

    def _of(self, asset: str) -> list[Coin]:
        return [coin for coin in self._coins if coin.asset == asset]


def check_reserve(left: int, reserve: int) -> None:
    """Raise CompositionError `reserve_needed` when less than the reserve would be left, in bytes."""
    if left < reserve:
        raise CompositionError("reserve_needed", f"it would leave {left} bytes, the reserve is {reserve}")


def _smallest(coins: Iterable[Coin]) -> Coin:
    return min(coins, key=lambda coin: (not coin.is_stable, coin.amount))


def _largest_first(coins: Iterable[Coin]) -> list[Coin]:
    return sorted(coins, key=lambda coin: -coin.amount)[:MAX_COINS]
