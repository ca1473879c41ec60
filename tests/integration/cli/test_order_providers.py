"""`sluice wallet order-providers`, and what the doctor says of hubs and pins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.settings import load_settings
from shared.store import ledger_pins
from sluice.machine.checks import Finding, Verdict, examine
from tests.integration.cli.test_wallet_commands import _own_place, expected_errors, sluice, world

if TYPE_CHECKING:
    from tests.integration.worker.support import World

__all__ = ["_own_place", "expected_errors", "world"]

ELSE = "I2ADHGP4HL6J37NQAD73J7E5SKFIXJOT"


async def findings(check: str) -> list[Finding]:
    return [finding async for finding in examine(load_settings()) if finding.check == check]


async def pinned(world: World) -> tuple[str, ...]:
    async with world.database.connection() as conn:
        return (await ledger_pins.read(conn)).order_providers


@pytest.fixture
async def hubs(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two hubs of one ledger, whose order providers a worker has pinned."""
    other = await world.devnet.add_hub()
    urls = [world.devnet.url, other.url]
    monkeypatch.setenv("SLUICE_HUB_URL", ",".join(urls))
    async with world.running():
        await world.open(await world.peer())
    return urls


async def test_the_pinned_list_is_shown_beside_those_of_all_hubs(world: World, hubs: list[str]) -> None:
    world.devnet.doors[1].faults.claimed_vars["op_list"] = [ELSE]
    told = await sluice("wallet", "order-providers", "--json")
    own = list(world.devnet.witnesses)
    assert told == {"pinned": own, "hubs": {hubs[0]: own, hubs[1]: [ELSE]}}
    shown = await sluice("wallet", "order-providers")
    assert own[0] in shown
    assert ELSE in shown


async def test_a_list_on_which_all_hubs_agree_can_be_accepted(world: World, hubs: list[str]) -> None:
    assert "what is pinned" in await sluice("wallet", "order-providers", "--accept")
    world.devnet.faults.claimed_vars["op_list"] = [ELSE]
    assert "different lists" in await sluice("wallet", "order-providers", "--accept", "--yes")
    assert await pinned(world) == world.devnet.witnesses
    world.devnet.doors[1].faults.claimed_vars["op_list"] = [ELSE]
    assert f"+ {ELSE}" in await sluice("wallet", "order-providers", "--accept", "--yes")
    assert await pinned(world) == (ELSE,)


async def test_a_list_pinned_by_hand_is_changed_by_hand(
    world: World, hubs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_ORDER_PROVIDERS", ELSE)
    assert "SLUICE_ORDER_PROVIDERS" in await sluice("wallet", "order-providers", "--accept", "--yes")


async def test_the_doctor_looks_at_every_hub_and_at_the_pins(
    world: World, hubs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_HUB_URL", ",".join([*hubs, "ws://127.0.0.1:1"]))
    assert [finding.verdict for finding in await findings("hub")] == [Verdict.OK, Verdict.OK, Verdict.WARN]
    assert [finding.verdict for finding in await findings("order providers")] == [Verdict.OK]
    world.devnet.faults.claimed_vars["op_list"] = [ELSE]
    warned, _ = await findings("order providers")
    assert warned.verdict is Verdict.WARN
    assert hubs[0] in warned.found
