from __future__ import annotations

from typing import TYPE_CHECKING, Any

import worker.definitions
from shared.obyte.coins import Coin
from shared.obyte.composing import Output, Parents, compose
from shared.obyte.hub_errors import HubAnswerError
from shared.obyte.networks import DEVNET
from tests.unit.agent.builders import AGENT, PEER_KEY, STRANGER, unit_hash
from worker.definitions import AuthorChecks

if TYPE_CHECKING:
    import pytest

PARENTS = Parents(1_700_000_000, (unit_hash(1),), unit_hash(2), unit_hash(3), 5, 0)


class Hub:
    """Answers questions for definitions, and counts them."""

    def __init__(self, definition: Any = PEER_KEY.definition) -> None:
        self.definition = definition
        self.asked: list[str] = []

    async def get_definition(self, address: str) -> Any:
        self.asked.append(address)
        if isinstance(self.definition, Exception):
            raise self.definition
        return self.definition


def unit(*, include_definition: bool = False, amount: int = 50_000) -> dict[str, Any]:
    coin = Coin(unit_hash(4), 0, 0, PEER_KEY.address, "base", 1_000_000)
    return compose(
        network=DEVNET,
        key=PEER_KEY,
        coins=[coin],
        parents=PARENTS,
        payments=[Output(AGENT, amount)],
        include_definition=include_definition,
    ).unit


def forged() -> dict[str, Any]:
    """A deposit that nobody made: the hub has changed the amount."""
    invented = unit(include_definition=True)
    other = unit(include_definition=True, amount=90_000)
    return other | {"authors": invented["authors"]}


async def is_genuine(checks: AuthorChecks, checked: dict[str, Any], hub: Any) -> bool:
    return await checks.is_genuine(checked, hub)


async def test_a_unit_that_discloses_its_authors_definition_needs_no_hub() -> None:
    hub = Hub()
    assert await is_genuine(AuthorChecks(DEVNET), unit(include_definition=True), hub)
    assert hub.asked == []


async def test_a_missing_definition_is_asked_for_once() -> None:
    checks, hub = AuthorChecks(DEVNET), Hub()
    assert await is_genuine(checks, unit(), hub)
    assert await is_genuine(checks, unit(amount=70_000), hub)
    assert hub.asked == [PEER_KEY.address]


async def test_a_unit_of_an_unknown_author_is_asked_about_again_next_time() -> None:
    checks, hub = AuthorChecks(DEVNET), Hub(definition=None)
    assert not await is_genuine(checks, unit(), hub)
    hub.definition = PEER_KEY.definition
    assert await is_genuine(checks, unit(), hub)


async def test_a_hub_that_tells_a_wrong_definition_makes_the_unit_unknown_and_nothing_worse() -> None:
    hub = Hub(definition=HubAnswerError("light/get_definition", "it must have the address asked for"))
    assert not await is_genuine(AuthorChecks(DEVNET), unit(), hub)


async def test_an_invented_unit_is_not_genuine() -> None:
    assert not await is_genuine(AuthorChecks(DEVNET), forged(), Hub())


async def test_an_agents_unit_is_signed_by_nobody() -> None:
    agents = unit() | {"authors": [{"address": STRANGER}]}
    assert not await is_genuine(AuthorChecks(DEVNET), agents, Hub(definition=None))


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.definitions, "MAX_KNOWN", 2)
    checks = AuthorChecks(DEVNET)
    for amount in (50_000, 60_000, 70_000, 80_000):
        assert await is_genuine(checks, unit(include_definition=True, amount=amount), Hub())
    assert len(checks._genuine) == 2
