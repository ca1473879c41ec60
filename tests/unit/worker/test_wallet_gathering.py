from __future__ import annotations

import hashlib
from base64 import b64encode

from shared.obyte.coins import BASE, Coin
from shared.obyte.selection import MAX_COINS
from worker.wallet.gathering import AT_ONCE, coins_to_gather, order_gathering

GOLD = "G" * 43 + "="


def coins(*amounts: int, asset: str = BASE) -> list[Coin]:
    return [
        Coin(b64encode(hashlib.sha256(str(number).encode()).digest()).decode(), 0, 0, "ME", asset, amount)
        for number, amount in enumerate(amounts)
    ]


def test_nothing_is_gathered_while_one_unit_can_spend_everything() -> None:
    assert coins_to_gather([]) == []
    assert coins_to_gather(coins(*[10**6] * MAX_COINS)) == []


def test_the_smallest_coins_are_gathered_once_much_is_out_of_reach() -> None:
    amounts = [10**6] * 100 + [20_000] * 60
    gathered = coins_to_gather(coins(*amounts))
    assert sorted(coin.amount for coin in gathered) == [20_000] * 60 + [10**6] * 40
    assert len(gathered) == AT_ONCE


def test_gathering_must_be_worth_its_cost() -> None:
    # 99 000 bytes more within reach are worth about 10 000 in commissions; 30 000 are not.
    assert coins_to_gather(coins(*[30_000] * (MAX_COINS + 1))) == []
    assert coins_to_gather(coins(*[30_000] * (MAX_COINS + 4)))


def test_dust_that_costs_more_than_it_is_worth_is_left_alone() -> None:
    assert coins_to_gather(coins(*[10**6] * 100, *[89] * 500)) == []
    gathered = coins_to_gather(coins(*[10**6] * 130, *[89] * 500))
    assert {coin.amount for coin in gathered} == {10**6}


def test_small_coins_of_strangers_do_not_keep_good_ones_from_being_gathered() -> None:
    gathered = coins_to_gather(coins(*[10**6] * 130, *[100] * 2_000))
    assert {coin.amount for coin in gathered} == {10**6}


def test_another_asset_is_gathered_when_a_hundredth_of_it_is_out_of_reach() -> None:
    assert coins_to_gather(coins(*[10**6] * MAX_COINS, 1, asset=GOLD)) == []
    gathered = coins_to_gather(coins(*[5] * (MAX_COINS + 2), asset=GOLD))
    assert len(gathered) == AT_ONCE
    order = order_gathering("ME", gathered)
    assert [(output.address, output.asset) for output in order.payments] == [("ME", GOLD)]


def test_the_order_is_one_that_can_wait_and_there_is_one_per_asset() -> None:
    order = order_gathering("ME", coins(1, 2, 3))
    assert (order.urgency.value, order.payments, order.sends_all) == ("routine", (), True)
    assert order.only == {coin.outpoint for coin in coins(1, 2, 3)}
    assert order.purpose != order_gathering("ME", coins(1, asset=GOLD)).purpose
