from __future__ import annotations

from typing import Any

import pytest

from shared.obyte.coins import Balance, CoinSet, Outpoint

ME, PEER, AGENT = "ME", "PEER", "AGENT"


def unit_of(
    name: str,
    *,
    author: str = PEER,
    inputs: list[tuple[str, int, int]] | None = None,
    outputs: list[tuple[str, int]] | None = None,
    asset: str | None = None,
    before: list[dict[str, Any]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "inputs": [{"unit": unit, "message_index": m, "output_index": o} for unit, m, o in inputs or []],
        "outputs": [{"address": address, "amount": amount} for address, amount in outputs or []],
    }
    if asset is not None:
        payload["asset"] = asset
    signed = {} if author == AGENT else {"authentifiers": {"r": "-"}}
    return {
        "unit": name,
        "timestamp": 1000,
        "authors": [{"address": author, **signed}],
        "messages": [*(before or []), {"app": "payment", "payload": payload}],
        **more,
    }


@pytest.fixture
def mine() -> CoinSet:
    return CoinSet(frozenset({ME}))


def test_an_output_to_me_is_a_coin_and_others_are_not(mine: CoinSet) -> None:
    mine.apply(unit_of("u", outputs=[(PEER, 5), (ME, 7), (ME, 7)]), is_stable=True, mci=3)
    assert [(coin.outpoint, coin.amount, coin.mci) for coin in mine.coins()] == [
        (Outpoint("u", 0, 1), 7, 3),
        (Outpoint("u", 0, 2), 7, 3),
    ]
    assert mine.balance() == Balance(stable=14, pending=0)


def test_message_indices_count_all_messages(mine: CoinSet) -> None:
    mine.apply(unit_of("u", outputs=[(ME, 7)], before=[{"app": "data", "payload": {"a": 1}}]), is_stable=True)
    [coin] = mine.coins()
    assert coin.outpoint == Outpoint("u", 1, 0)


def test_assets_are_kept_apart(mine: CoinSet) -> None:
    mine.apply(unit_of("u", outputs=[(ME, 7)], asset="GOLD"), is_stable=True)
    mine.apply(unit_of("v", outputs=[(ME, 2)]), is_stable=True)
    assert mine.assets() == ("GOLD", "base")
    assert mine.balance("GOLD").total == 7
    assert mine.balance().total == 2


def test_a_spent_coin_is_gone_even_if_the_spending_unit_came_first(mine: CoinSet) -> None:
    mine.apply(unit_of("v", author=ME, inputs=[("u", 0, 0)], outputs=[(ME, 4)]), is_stable=False)
    mine.apply(unit_of("u", outputs=[(ME, 7)]), is_stable=True)
    assert [(coin.unit, coin.author_is_mine) for coin in mine.coins()] == [("v", True)]
    assert mine.balance() == Balance(stable=0, pending=4)


def test_earned_commissions_spend_no_coin(mine: CoinSet) -> None:
    mine.apply(unit_of("u", outputs=[(ME, 7)]), is_stable=True)
    earned = unit_of("v", author=ME, outputs=[(ME, 1)])
    earned["messages"][0]["payload"]["inputs"] = [
        {"type": "headers_commission", "from_main_chain_index": 1, "to_main_chain_index": 2}
    ]
    mine.apply(earned, is_stable=True)
    assert mine.balance().stable == 8


def test_a_bad_unit_pays_nothing_and_spends_nothing(mine: CoinSet) -> None:
    mine.apply(unit_of("u", outputs=[(ME, 7)]), is_stable=True)
    mine.apply(unit_of("v", author=ME, inputs=[("u", 0, 0)], outputs=[(ME, 4)]), is_stable=False)
    mine.mark_bad("v")
    assert mine.balance() == Balance(stable=7, pending=0)
    assert mine.is_bad("v")


def test_news_that_a_unit_is_bad_may_come_before_the_unit(mine: CoinSet) -> None:
    mine.mark_bad("u")
    assert "u" not in mine
    mine.apply(unit_of("u", outputs=[(ME, 7)]), is_stable=False)
    assert "u" in mine
    assert mine.coins() == ()


def test_only_stability_decides_about_a_unit_called_bad(mine: CoinSet) -> None:
    unit = unit_of("u", outputs=[(ME, 7)])
    mine.apply(unit, is_stable=False)
    mine.mark_bad("u")
    mine.apply(unit, is_stable=True, mci=9)
    assert mine.balance().stable == 7
    mine.mark_bad("u")
    assert mine.balance().stable == 7


def test_a_void_stable_unit_stays_void(mine: CoinSet) -> None:
    unit = unit_of("u", outputs=[(ME, 7)])
    stripped = {"unit": "u", "content_hash": "-", "timestamp": 1000, "authors": [{"address": PEER}]}
    mine.apply(stripped, is_stable=True, sequence="bad")
    mine.apply(unit, is_stable=False)
    assert mine.coins() == ()
    assert mine.is_stable("u")


def test_a_unit_that_was_never_on_the_ledger_is_forgotten_until_it_is_delivered(mine: CoinSet) -> None:
    spending = unit_of("v", author=ME, inputs=[("u", 0, 0)], outputs=[(ME, 4)])
    mine.apply(unit_of("u", outputs=[(ME, 7)]), is_stable=True)
    mine.apply(spending, is_stable=False)
    mine.forget("v")
    mine.forget("u")
    mine.forget("unknown")
    assert mine.balance() == Balance(stable=7, pending=0)
    mine.apply(spending, is_stable=False)
    assert mine.balance() == Balance(stable=0, pending=4)


def test_a_replacement_can_find_the_coins_of_the_unit_it_replaces(mine: CoinSet) -> None:
    mine.apply(unit_of("u", outputs=[(ME, 7), (ME, 8)]), is_stable=True)
    mine.apply(unit_of("v", author=ME, inputs=[("u", 0, 1), ("unknown", 0, 0)], outputs=[(ME, 4)]), is_stable=False)
    assert [(coin.outpoint, coin.amount) for coin in mine.spent_by("v")] == [(Outpoint("u", 0, 1), 8)]
    assert mine.spent_by("u") == ()


def test_the_policies(mine: CoinSet) -> None:
    mine.apply(unit_of("stable", outputs=[(ME, 1)]), is_stable=True, mci=5)
    mine.apply(unit_of("recent", outputs=[(ME, 2)]), is_stable=True, mci=6)
    mine.apply(unit_of("own", author=ME, outputs=[(ME, 3)]), is_stable=False)
    mine.apply(unit_of("peer", outputs=[(ME, 4)]), is_stable=False)
    mine.apply(unit_of("agent", author=AGENT, outputs=[(ME, 5)]), is_stable=False)

    def units(policy: Any, **limits: Any) -> set[str]:
        return {coin.unit for coin in mine.spendable("base", policy, **limits)}

    assert units("none", last_ball_mci=5) == {"stable"}
    assert units("none") == {"stable", "recent"}
    assert units("own", last_ball_mci=5) == {"stable", "own"}
    assert units("all", last_ball_mci=5) == {"stable", "recent", "own", "peer", "agent"}
    assert units("all", last_ball_mci=5, settled_before_s=999) == {"stable", "recent", "own", "peer"}
    assert units("all", last_ball_mci=5, settled_before_s=1000) == {"stable", "recent", "own", "peer", "agent"}


def test_how_young_an_agents_coin_is_is_told_by_our_own_clock(mine: CoinSet) -> None:
    """A response bears the time of the unit it answers to, which may be minutes old when the response is made."""
    response = unit_of("agent", author=AGENT, outputs=[(ME, 5)])
    mine.apply(response, is_stable=False, seen_s=1_500)
    assert mine.spendable("base", "all", settled_before_s=1_499) == ()
    assert mine.spendable("base", "all", settled_before_s=1_500)
    mine.apply(response, is_stable=False, seen_s=1_900)
    assert mine.spendable("base", "all", settled_before_s=1_500), "seen again is not younger"
    mine.apply(response, is_stable=True, mci=3, seen_s=2_000)
    assert mine.spendable("base", "none", settled_before_s=0), "what is stable cannot be made anew"


def test_a_unit_can_be_taken_as_if_it_did_not_exist(mine: CoinSet) -> None:
    mine.apply(unit_of("u", outputs=[(ME, 7)]), is_stable=True)
    mine.apply(unit_of("v", author=ME, inputs=[("u", 0, 0)], outputs=[(ME, 4)]), is_stable=False)
    mine.apply(unit_of("w", author=ME, inputs=[("v", 0, 0)], outputs=[(ME, 3)]), is_stable=False)

    def units(*without: str) -> set[str]:
        return {coin.unit for coin in mine.spendable("base", "own", without=frozenset(without))}

    assert (units(), units("w"), units("v", "w")) == ({"w"}, {"v"}, {"u"})


def test_a_definition_is_disclosed_by_a_stable_unit_up_to_the_last_ball(mine: CoinSet) -> None:
    unit = unit_of("u", author=ME, outputs=[(ME, 1)])
    unit["authors"][0]["definition"] = ["sig", {}]
    mine.apply(unit, is_stable=False)
    assert not mine.definition_disclosed(ME, last_ball_mci=100)
    mine.apply(unit, is_stable=True, mci=10)
    assert not mine.definition_disclosed(ME, last_ball_mci=9)
    assert mine.definition_disclosed(ME, last_ball_mci=10)
    assert not mine.definition_disclosed(PEER, last_ball_mci=10)


def test_what_is_left_to_ask_for(mine: CoinSet) -> None:
    mine.apply(unit_of("u", outputs=[(ME, 1)]), is_stable=True, mci=4)
    mine.apply(unit_of("v", outputs=[(ME, 1)]), is_stable=False)
    assert mine.unstable_units() == ("v",)
    assert mine.last_stable_mci() == 4


@pytest.mark.parametrize(
    "message",
    [
        {"app": "payment", "payload_location": "none", "payload_hash": "-"},
        {"app": "payment", "payload": None},
        {
            "app": "payment",
            "payload": {"inputs": None, "outputs": [None, {"address": ME}, {"address": ME, "amount": "1"}]},
        },
        {"app": "text", "payload": "hello"},
    ],
)
def test_messages_that_pay_nothing_are_tolerated(mine: CoinSet, message: dict[str, Any]) -> None:
    mine.apply({"unit": "u", "timestamp": 1, "authors": [], "messages": [message]}, is_stable=True)
    assert mine.coins() == ()
