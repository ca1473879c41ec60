from __future__ import annotations

from typing import Any

import pytest

from shared.moneysocket.dialects import JAVASCRIPT, PYTHON, SLUICE, Dialect
from shared.moneysocket.errors import MoneysocketError
from shared.moneysocket.rates import Rate, derive_rate
from shared.moneysocket.showing import show, show_long
from shared.moneysocket.wads import Wad, bitcoin, parse_amount, pegged, read_wad
from tests.vectors.moneysocket_vectors import Case, cases, label


def construct(case: Case) -> Wad:
    kind = case["kind"]
    if kind == "bitcoin":
        return bitcoin(case["msats"])
    if kind in ("usd", "cad"):
        return pegged(case["units"], Rate("BTC", kind.upper(), case["rate"]), kind.upper())
    if kind == "custom":
        descriptions = {key: case[key] for key in ("countries", "decimals", "name", "symbol")}
        return pegged(case["units"], Rate("BTC", case["code"], case["rate"]), case["code"], **descriptions)
    wad = bitcoin(0) if case["dict"] is None else Wad(**case["dict"])
    if kind == "clone_msats":
        return wad.with_msats(case["msats"])
    return wad.at_rate(Rate("BTC", wad.code, case["rate"])) if kind == "adjust" else wad


def is_taken(value: Any, dialect: Dialect) -> bool:
    try:
        read_wad(value, dialect)
    except MoneysocketError:
        return False
    return True


CONSTRUCTED = [
    (case, dialect, case[column])
    for case in cases("wads-v0", "construct")
    for dialect, column in ((PYTHON, "py"), (JAVASCRIPT, "js"))
    if case.get(column, {}).get("result") != "unsupported"
]


@pytest.mark.parametrize(("case", "dialect", "expected"), CONSTRUCTED)
def test_a_wad_is_made_as_the_library_makes_it(case: Case, dialect: Dialect, expected: Case) -> None:
    is_gap_of_javascript = dialect is JAVASCRIPT and (case["kind"] == "cad" or case.get("dict", "") is None)
    if "wad" not in expected and not is_gap_of_javascript:
        with pytest.raises(MoneysocketError):
            construct(case)
        return
    if case.get("msats") == -1:  # JavaScript makes it, and its own validator refuses it
        assert expected["own_validator"] == "reject"
        with pytest.raises(MoneysocketError):
            construct(case)
        return
    wad = construct(case)
    if is_gap_of_javascript:
        return
    assert wad.to_json(dialect) == expected["wad"]
    assert list(wad.to_json(dialect)) == list(expected["wad"])
    assert (show(wad, dialect), show_long(wad, dialect)) == (expected["short"], expected["long"])
    assert is_taken(wad.to_json(dialect), dialect) == (expected["own_validator"] == "accept")


@pytest.mark.parametrize("case", cases("wads-v0", "known_code"), ids=label)
def test_every_known_currency(case: Case) -> None:
    wad = Wad(case["msats"], asset_stable=True, asset_units=case["asset_units"], code=case["code"])
    assert wad.to_json(PYTHON) == case["wad"]
    assert wad.to_json(JAVASCRIPT) == case.get("js_wad", case["wad"])
    assert (show(wad, PYTHON), show(wad, JAVASCRIPT)) == (case["py_short"], case["js_short"])
    assert is_taken(case["wad"], PYTHON) == (case["py_validator"] == "accept")
    assert is_taken(case.get("js_wad", case["wad"]), JAVASCRIPT) == (case["js_validator"] == "accept")
    ours = wad.to_json(SLUICE)
    assert is_taken(ours, PYTHON)
    assert is_taken(ours, JAVASCRIPT)
    assert read_wad(ours) == wad


@pytest.mark.parametrize("case", cases("wads-v0", "parse_amount_py"), ids=lambda case: repr(case["text"]))
def test_an_amount_is_read(case: Case) -> None:
    if case["py"] == "accept":
        assert parse_amount(case["text"]) == case["msats"]
    else:
        with pytest.raises(MoneysocketError):
            parse_amount(case["text"])


@pytest.mark.parametrize("case", cases("wads-v0", "rate_py"))
def test_rates(case: Case) -> None:
    given, result = case["input"], case["result"]
    rate = Rate(given["base"], given["quote"], given["value"], given["ts"])
    if given["op"] == "convert":
        if result["code"] is None:
            with pytest.raises(MoneysocketError):
                rate.convert(given["v"], given["code"])
        else:
            assert rate.convert(given["v"], given["code"]) == (result["value"], result["code"])
        return
    base, quote, value, timestamp = given.get("other", (None,) * 4)
    made = (
        rate.inverted()
        if given["op"] == "invert"
        else derive_rate(given["want"][0], given["want"][1], (rate, Rate(base, quote, value, timestamp)))
    )
    assert (made.base_code, made.quote_code) == (result["base_code"], result["quote_code"])
    assert (made.value, made.timestamp_s) == (result["rate_value"], result["timestamp"])
