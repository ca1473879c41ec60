"""The snippets of docs/sdk.md, run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.fastapi import RESPONSES
from sluice.terms import read_terms
from tests.integration.sdk.support import serving

if TYPE_CHECKING:
    import pytest

    from tests.integration.sdk.conftest import Market

PAGE = (Path(__file__).parents[3] / "docs" / "sdk.md").read_text()


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def names_of(snippet: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102 - what a reader does
    return names


async def test_the_snippets_run(
    market: Market, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order, buy, weather = snippets("python")
    monkeypatch.chdir(market.home.parent)
    monkeypatch.setenv("FRONT_URL", market.front)
    monkeypatch.setenv("API_KEY", market.key)
    async with serving(names_of(weather)["app"]) as url, market.payer() as payer:
        assert await names_of(buy)["buy"](payer, f"{url}/weather") == '{"weather":"fine"}'
    await names_of(order)["order"](market.devnet.url, market.front)
    assert capsys.readouterr().out == "received payment for 1000 base\n"


def test_the_terms_shown_are_terms_as_they_are() -> None:
    [document] = [json.loads(snippet) for snippet in snippets("json")]
    [terms] = read_terms(document)
    assert terms.as_json() == document["accepts"][0]


def test_every_status_is_in_the_page() -> None:
    assert {f"| {status} |" for status in RESPONSES} <= set(re.findall(r"\| \d{3} \|", PAGE))
