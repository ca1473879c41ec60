"""A payer trusts order providers and not hubs, nor its own clock: what they get wrong is noticed or put right."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from shared.channels.model import Status
from shared.obyte.keys import KeyPair
from sluice.payer import proving
from sluice.payer.errors import LedgerError, WalletError
from tests.integration.payer.conftest import OPTIONS
from tests.integration.payer.support import BOUND_S, eventually

if TYPE_CHECKING:
    from tests.integration.payer.conftest import World

STRANGER = KeyPair(bytes([77]) * 32).address


async def test_an_old_proof_served_again_is_refused_also_after_a_restart(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proving, "SLACK_S", 0.0)
    liar, honest = world.devnet.doors[0], await world.devnet.add_hub()
    recorded: list[dict[str, Any]] = []

    def record(answer: dict[str, Any]) -> dict[str, Any]:
        if answer:  # nothing to tell has no proof in it that could be old
            recorded.append(answer)
        return answer

    liar.faults.lie("light/get_history", record, times=None)
    async with world.payer(hub_url=liar.url) as payer:
        aa_address = (await world.open_channel(payer)).aa_address
    world.devnet.skip_time(3)
    async with world.payer(hub_url=honest.url) as payer:
        await payer.deposit(aa_address, 20_000)
        await eventually(lambda: payer.state(aa_address).deposited_by_me == 520_000)
    liar.faults.clear()
    liar.faults.lie("light/get_history", lambda _: recorded[-1], times=None)
    with capture_logs() as logs:
        async with world.payer(hub_url=liar.url) as payer:
            with pytest.raises(LedgerError):
                await payer.wait_connected(0.5)
        async with world.payer(hub_url=f"{liar.url},{honest.url}") as payer:
            await payer.wait_connected(BOUND_S)
    lost = {(told["hub"], told["code"]) for told in logs if told["event"] == "payer_hub_lost"}
    assert lost == {(liar.url, "stale_proof")}


@pytest.mark.parametrize("wrong_by_s", [-600, 3_600])
async def test_a_clock_that_is_wrong_by_minutes_neither_stops_the_payer_nor_confirms_too_early(
    world: World, wrong_by_s: int
) -> None:
    ledger = world.devnet.ledger
    options = replace(OPTIONS, confirm_margin_s=1)
    async with world.payer(clock=lambda: ledger.now_s() + wrong_by_s, options=options) as payer:
        channel = await world.open_channel(payer, timeout_s=2)
        assert (await channel.pay(6_000)).response == "received 6000"
        await channel.close()
        await channel.settle(BOUND_S)
        assert channel.state.status is Status.CLOSED
    _, closed, confirmed = world.triggers(channel.aa_address)  # a confirmation that is early bounces
    assert confirmed["timestamp"] >= closed["timestamp"] + 2


async def test_a_hub_that_names_other_order_providers_is_told_of_and_not_believed(world: World) -> None:
    async with world.payer() as payer:
        await payer.wait_connected(BOUND_S)
        pinned = payer._wallet.witnesses
    world.devnet.faults.lie("get_witnesses", lambda _: [STRANGER], times=None)
    with capture_logs() as logs:
        async with world.payer() as payer:
            channel = await world.open_channel(payer)
            assert payer._wallet.witnesses == pinned
    assert channel.state.deposited_by_me == 500_000
    [told] = [told for told in logs if told["event"] == "payer_order_providers_differ"]
    assert (told["source"], told["named_only"]) == (world.devnet.url, (STRANGER,))


async def test_order_providers_by_hand_replace_what_was_pinned_and_hold(world: World) -> None:
    async with world.payer() as payer:
        await payer.wait_connected(BOUND_S)
    async with world.payer(options=replace(OPTIONS, order_providers=(STRANGER,))) as payer:
        with pytest.raises(LedgerError):
            await payer.wait_connected(0.5)
    with pytest.raises(LedgerError):
        async with world.payer() as payer:
            await payer.wait_connected(0.5)
    async with world.payer(options=replace(OPTIONS, order_providers=tuple(world.devnet.witnesses))) as payer:
        await payer.wait_connected(BOUND_S)


@pytest.mark.parametrize("named", [("A" * 32,), (STRANGER, STRANGER), (STRANGER, KeyPair(bytes([78]) * 32).address)])
async def test_order_providers_by_hand_are_checked(world: World, named: tuple[str, ...]) -> None:
    with pytest.raises(WalletError) as refused:
        async with world.payer(options=replace(OPTIONS, order_providers=named)):
            pass
    assert refused.value.code == "order_providers"
