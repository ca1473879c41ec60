"""Making one coin of many. A receiver's wallet gets a coin with every closed channel, and a unit can spend only 126."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.obyte.coins import BASE
from shared.obyte.composing import Output
from shared.obyte.selection import INPUT_SIZE, MAX_COINS
from worker.wallet.orders import Purpose, UnitOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.obyte.coins import Coin
    from shared.store.database import Connection

CONSOLIDATE = "consolidate"
AT_ONCE = 100
"""Coins in one unit: as many as fit without an oversize fee."""
_COMMISSIONS = 1_000 + AT_ONCE * INPUT_SIZE
"""About what such a unit costs, in bytes."""
_WORTH_IT = 10
"""Bytes are gathered when what comes into reach is worth this many times the cost, and coins that are too: of small
ones that strangers send nothing would be left."""
_PER_CENT_OF_ASSET = 1
"""Another asset's coins are gathered when this much of it is out of reach: its worth in bytes is not known."""


def coins_to_gather(coins: Sequence[Coin]) -> list[Coin]:
    """Return coins of one asset to be made into one, the smallest that are worth it; none when there is no need.

    `coins`: all that the wallet has of it. There is need when one unit cannot spend a good part of them.
    """
    worth_spending = [coin for coin in coins if coin.asset != BASE or coin.amount > _WORTH_IT * INPUT_SIZE]
    largest_first = sorted(worth_spending, key=lambda coin: -coin.amount)
    out_of_reach = sum(coin.amount for coin in largest_first[MAX_COINS:])
    if not out_of_reach:
        return []
    if largest_first[0].asset == BASE:
        is_worth_it = out_of_reach >= _WORTH_IT * _COMMISSIONS
    else:
        total = sum(coin.amount for coin in largest_first)
        is_worth_it = out_of_reach * 100 >= total * _PER_CENT_OF_ASSET
    return largest_first[-AT_ONCE:] if is_worth_it else []


def order_gathering(address: str, coins: Sequence[Coin]) -> UnitOrder:
    """Return the order that makes one coin of these, all of one asset. It can wait for everything else."""
    asset = coins[0].asset

    async def is_wanted(_conn: Connection) -> bool:
        return True

    return UnitOrder(
        purpose=Purpose(CONSOLIDATE, reference=asset),
        payments=() if asset == BASE else (Output(address, 1, asset),),
        messages=(),
        is_wanted=is_wanted,
        max_aa_responses=None,
        sends_all=True,
        only=frozenset(coin.outpoint for coin in coins),
    )
