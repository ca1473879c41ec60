"""The wallet on a real ledger: what may be spent, what goes first, and what becomes of a unit that nobody answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from shared.obyte.coins import BASE
from shared.obyte.composing import Output
from shared.obyte.hub_client import HubClient
from shared.obyte.keys import KeyPair
from shared.store.alarms import AlarmKind
from shared.store.journal import UnitState
from tests.integration.worker.support import Party, eventually, hide_unit
from tests.integration.worker.wallet_support import (
    defence,
    disclose,
    journal_of,
    lose,
    make_void,
    order,
    paid_to,
    pays,
    refuse_first,
    spike,
    until_alarm,
    until_resolved,
    wallet_of,
)
from worker.errors import PostingError
from worker.hub_session import HubSession
from worker.wallet import Purpose, Spending, Urgency, order_withdrawal

if TYPE_CHECKING:
    from tests.integration.worker.support import World

PAYEE, OTHER = (KeyPair(bytes([number]) * 32).address for number in (50, 51))
RESERVE = 200_000


async def refusal(posting: Any) -> PostingError:
    with pytest.raises(PostingError) as refused:
        await posting
    return refused.value


async def is_final(world: World) -> bool:
    """Whether the first unit that was ever made is on the ledger for good."""
    return (await journal_of(world))[0].state is UnitState.STABLE


# ------------------------------------------------------------------------------------------------------ withdrawals


async def test_a_withdrawal_is_paid_once_however_often_it_is_ordered(world: World) -> None:
    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        wanted = order_withdrawal(PAYEE, 123_456, reference="command-1")
        unit = await wallet.post(wanted)
        assert await wallet.post(wanted) is None
        entry = await until_resolved(world, unit)
        assert await wallet.post(wanted) is None
        assert (entry.state, entry.purpose, entry.reference) == (UnitState.STABLE, "withdraw", "command-1")
        other = await wallet.post(order_withdrawal(PAYEE, 1, reference="command-2"))
        await until_resolved(world, other)
    assert paid_to(world, PAYEE) == [(unit, 123_456), (other, 1)]


async def test_all_is_withdrawn_but_the_reserve(world: World) -> None:
    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        await until_resolved(world, await wallet.post(order_withdrawal(PAYEE, None, reference="1")))
        assert wallet.coins.balance().total == RESERVE
        error = await refusal(wallet.post(order_withdrawal(PAYEE, 1, reference="2")))
    assert error.code == "reserve_needed"
    assert f"the reserve is {RESERVE}" in str(error)
    assert world.own.balance() == RESERVE


async def test_any_asset_is_withdrawn_whole_or_in_part(world: World) -> None:
    gold = world.devnet.ledger.treasury.issue(1_000)
    world.fund(world.own, 700, gold)
    payee = Party(world.devnet, KeyPair(bytes([50]) * 32))
    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        await until_resolved(world, await wallet.post(order_withdrawal(PAYEE, 300, gold, reference="1")))
        assert (payee.balance(gold), world.own.balance(gold)) == (300, 400)
        await until_resolved(world, await wallet.post(order_withdrawal(PAYEE, None, gold, reference="2")))
        assert (payee.balance(gold), world.own.balance(gold)) == (700, 0)
        error = await refusal(wallet.post(order_withdrawal(PAYEE, 1, gold, reference="3")))
    assert error.code == "not_enough_funds"


async def test_an_agent_is_paid_only_on_purpose(world: World) -> None:
    peer = await world.peer()
    async with world.running() as runtime:
        await world.open(peer)
        wallet = await wallet_of(world, runtime)
        assert (
            await refusal(wallet.post(order_withdrawal(peer.channel, 20_000, reference="1")))
        ).code == "payee_is_agent"
        assert await journal_of(world) == []
        await wallet.post(order_withdrawal(peer.channel, 20_000, reference="1", to_agent=True))
        await world.until(peer, lambda channel: channel.deposited_by_me == 20_000, "with our deposit")


@pytest.mark.parametrize(
    ("address", "amount", "asset"), [("NOBODY", 5, BASE), (PAYEE, 0, BASE), (PAYEE, 5, "GOLD"), (PAYEE, 10**16, BASE)]
)
async def test_a_withdrawal_that_cannot_be_is_refused(world: World, address: str, amount: int, asset: str) -> None:
    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        error = await refusal(wallet.post(order_withdrawal(address, amount, asset, reference="1", to_agent=True)))
    assert error.code in {"bad_output", "hub_refused"}
    assert await journal_of(world) == []


# ---------------------------------------------------------------------------------------------------- money and fees


async def test_the_reserve_is_for_settling(world: World, expected_errors: set[str]) -> None:
    expected_errors.add("wallet_low")
    spending = Spending(reserve=9_990_000)
    async with world.running(spending=spending) as runtime:
        wallet = await wallet_of(world, runtime)
        assert (await refusal(wallet.post(order("deposit", PAYEE, 50_000)))).code == "reserve_needed"
        unit = await wallet.post(order("close", PAYEE, 50_000, urgency=Urgency.SETTLING))
        assert (await until_resolved(world, unit)).state is UnitState.STABLE
        facts = await until_alarm(world, AlarmKind.WALLET_LOW)
        assert facts["reserve"] == 9_990_000
        assert facts["spendable"] < 9_950_000
        world.fund(world.own)
        await until_alarm(world, AlarmKind.WALLET_LOW, stands=False)


async def test_what_can_wait_waits_for_a_fee_spike_to_pass(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.running(spending=Spending(max_fee=50_000)) as runtime:
        wallet = await wallet_of(world, runtime)
        with monkeypatch.context() as spiking:
            spike(spiking, 50_001)
            for urgency in (Urgency.ROUTINE, Urgency.SETTLING):
                assert (await refusal(wallet.post(order("close", PAYEE, urgency=urgency)))).code == "fee_too_high"
            assert await until_alarm(world, AlarmKind.FEE_HIGH) == {"fee": 50_001, "limit": 50_000}
            await wallet.tidy()
            await until_alarm(world, AlarmKind.FEE_HIGH)
        await wallet.tidy()
        await until_alarm(world, AlarmKind.FEE_HIGH, stands=False)
        assert await journal_of(world) == []
        assert await wallet.post(order("close", PAYEE, urgency=Urgency.SETTLING))


async def test_a_defence_pays_what_the_stake_is_worth_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running(spending=Spending(max_fee=50_000)) as runtime:
        wallet = await wallet_of(world, runtime)
        spike(monkeypatch, 900_000)
        assert (await refusal(wallet.post(defence(PAYEE, at_stake=1_700_000)))).code == "fee_too_high"
        unit = await wallet.post(defence(PAYEE, at_stake=1_800_000))
        assert (await until_resolved(world, unit)).joint["unit"]["tps_fee"] == 900_000
        # Paid, and still too high for everybody else.
        assert (await until_alarm(world, AlarmKind.FEE_HIGH))["fee"] == 900_000


async def test_a_hub_that_tells_a_threshold_of_nothing_stops_no_more_than_the_unit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        monkeypatch.setattr(HubSession, "threshold_size", lambda *_: 1)
        assert (await refusal(wallet.post(defence(PAYEE, at_stake=1_700_000)))).code == "fee_too_high"
        monkeypatch.undo()
        assert await wallet.post(order("close", PAYEE, urgency=Urgency.SETTLING))


async def test_a_fraud_is_proven_through_a_fee_spike_and_an_honest_closing_waits_for_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheat, honest = await world.peer(1), await world.peer(2)
    async with world.running(spending=Spending(max_fee=50_000)) as runtime:
        for peer in (cheat, honest):
            await world.open(peer)
            await world.pay(peer, 400_000)
        await wallet_of(world, runtime)
        with monkeypatch.context() as spiking:
            spike(spiking, 190_000)
            honest.close(admits=400_000)
            cheat.close(admits=1_000)
            channel = await world.until(cheat, lambda channel: channel.status == "closed", "closed")
            assert channel.period == 1
            assert (await world.channel(honest)).status == "closing_initiated_by_peer"
            assert (await until_alarm(world, AlarmKind.FEE_HIGH))["limit"] == 50_000
        await world.until(honest, lambda channel: channel.status == "closed", "closed")
        await until_alarm(world, AlarmKind.FEE_HIGH, stands=False)
    assert len(world.triggers(cheat, "fraud_proof")) == 1
    assert len(world.triggers(honest, "confirm")) == 1


async def test_a_defence_spends_unconfirmed_coins_of_others_when_ours_are_gone(
    world: World, expected_errors: set[str]
) -> None:
    expected_errors.add("wallet_low")
    treasury = world.devnet.ledger.treasury
    world.own.post([Output(treasury.address, world.own.balance() - 5_000)])
    world.devnet.ledger.settle()
    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        stranger = Party(world.devnet, KeyPair(bytes([77]) * 32))
        world.fund(stranger)
        world.devnet.pause()
        stranger.post([Output(world.own.address, 300_000)])

        async def is_seen() -> bool:
            return wallet.coins.balance().pending > 0

        await eventually(is_seen, "the unconfirmed money")
        assert (
            await refusal(wallet.post(order("close", PAYEE, 10_000, urgency=Urgency.SETTLING)))
        ).code == "not_enough_funds"
        assert await wallet.post(defence(PAYEE, 10_000))


# -------------------------------------------------------------------------------------------------- who goes first


async def test_a_fraud_proof_does_not_wait_behind_deposits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await disclose(world)
    gate, reached = asyncio.Event(), asyncio.Event()
    post = HubClient.post_joint

    async def wait_at_the_gate(client: HubClient, joint: Any) -> None:
        reached.set()
        await gate.wait()
        await post(client, joint)

    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        monkeypatch.setattr(HubClient, "post_joint", wait_at_the_gate)
        posting = [asyncio.create_task(wallet.post(order(f"deposit {number}", PAYEE))) for number in range(3)]
        await reached.wait()
        posting.append(asyncio.create_task(wallet.post(defence(PAYEE))))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*posting)
    assert [entry.purpose for entry in await journal_of(world)] == ["deposit 0", "defence", "deposit 1", "deposit 2"]


async def test_a_routine_unit_that_has_to_be_made_again_lets_the_urgent_go_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await disclose(world)
    post = HubClient.post_joint
    posted: list[asyncio.Task[str | None]] = []

    async def refuse_first_one(client: HubClient, joint: Any) -> None:
        if not posted:
            posted.append(asyncio.create_task(wallet.post(defence(OTHER))))
            await asyncio.sleep(0)
            world.devnet.faults.refuse("post_joint", "last ball just advanced")
        await post(client, joint)

    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        monkeypatch.setattr(HubClient, "post_joint", refuse_first_one)
        assert (await refusal(wallet.post(order("deposit", PAYEE)))).code == "overtaken"
        assert await posted[0]
        await wallet.post(order("deposit", PAYEE))
    assert [(entry.purpose, entry.state is UnitState.FAILED) for entry in await journal_of(world)] == [
        ("deposit", True),
        ("defence", False),
        ("deposit", False),
    ]


# -------------------------------------------------------------------------------------------------- units in doubt


async def test_a_defence_is_not_held_up_by_a_unit_that_nobody_answers_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        with monkeypatch.context() as failing:
            lost = lose(failing, pays(PAYEE), is_posted=False)
            withdrawal = order_withdrawal(PAYEE, 70_000, reference="1")
            assert (await refusal(wallet.post(withdrawal))).code == "in_doubt"
            assert (await refusal(wallet.post(order("deposit", OTHER)))).code == "in_doubt"
            unit = await wallet.post(defence(OTHER))
        assert (await until_resolved(world, unit)).state is UnitState.STABLE
        overtaken = await until_resolved(world, lost[0])
        assert overtaken.state is UnitState.FAILED
        assert str(unit) in str(overtaken.error)
        again = await wallet.post(withdrawal)
        await until_resolved(world, again)
    assert set(lost) == {overtaken.unit}
    assert paid_to(world, PAYEE) == [(again, 70_000)]
    assert paid_to(world, OTHER) == [(unit, 1_000)]


async def test_a_unit_in_doubt_that_has_arrived_after_all_is_built_upon(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        withdrawal = order_withdrawal(PAYEE, 70_000, reference="1")
        world.devnet.pause()
        with monkeypatch.context() as failing:
            lost = lose(failing, pays(PAYEE), is_posted=True)
            assert (await refusal(wallet.post(withdrawal))).code == "in_doubt"
            # The hub has it, so it refuses what conflicts with it, and keeps on refusing while it tells us nothing.
            assert (await refusal(wallet.post(defence(OTHER)))).code in {"double_spend", "refused"}
        unit = await wallet.post(defence(OTHER))
        world.devnet.resume()
        assert (await until_resolved(world, lost[0])).state is UnitState.STABLE
        assert (await until_resolved(world, unit)).state is UnitState.STABLE
        assert await wallet.post(withdrawal) is None
    assert paid_to(world, PAYEE) == [(lost[0], 70_000)]
    assert paid_to(world, OTHER) == [(unit, 1_000)]


async def test_a_defence_in_doubt_is_never_made_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        with monkeypatch.context() as failing:
            lost = lose(failing, pays(PAYEE), is_posted=False)
            for _ in range(3):
                assert (await refusal(wallet.post(defence(PAYEE)))).code == "in_doubt"
        await until_resolved(world, lost[0])
    assert len(set(lost)) == 1
    assert [unit for unit, _ in paid_to(world, PAYEE)] == [lost[0]]


async def test_a_hub_that_denies_a_unit_it_has_taken_does_not_make_us_pay_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    withdrawal = order_withdrawal(PAYEE, 70_000, reference="1")
    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        world.devnet.pause()
        refused = refuse_first(monkeypatch, "some rule", is_kept=True)
        assert (await refusal(wallet.post(withdrawal))).code == "refused"
        assert (await journal_of(world))[0].state is UnitState.FAILED
        # What replaces it spends the same coins: the ledger takes only one of them.
        assert (await refusal(wallet.post(withdrawal))).code in {"double_spend", "refused"}

        world.devnet.resume()
        await eventually(lambda: is_final(world), "the truth about the first unit")
        assert await wallet.post(withdrawal) is None
    assert paid_to(world, PAYEE) == [(refused[0], 70_000)]


async def test_what_replaces_a_unit_spends_its_coins_though_others_would_do_better(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub that hides a unit it has taken, for as long as it likes."""
    withdrawal = order_withdrawal(PAYEE, 70_000, reference="1")
    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        world.devnet.pause()
        refused = refuse_first(monkeypatch, "some rule", is_kept=True)
        assert (await refusal(wallet.post(withdrawal))).code == "refused"
        with monkeypatch.context() as hiding:
            hide_unit(hiding, refused[0])
            world.fund(world.own, 300_000)

            async def is_known() -> bool:
                return any(coin.amount == 300_000 for coin in wallet.coins.coins(BASE))

            await eventually(is_known, "a coin that would do")
            assert (await refusal(wallet.post(withdrawal))).code in {"double_spend", "refused"}
        world.devnet.resume()
        await eventually(lambda: is_final(world), "the truth about the first unit")
        assert await wallet.post(withdrawal) is None
    assert paid_to(world, PAYEE) == [(refused[0], 70_000)]


@pytest.mark.parametrize("purpose", ["withdraw", "publish_agent", "consolidate"])
async def test_b07_a_unit_for_no_channel_that_becomes_void_is_undone_and_made_again(
    world: World, monkeypatch: pytest.MonkeyPatch, purpose: str
) -> None:
    wanted = order(Purpose(purpose, reference="1"), PAYEE, 70_000)
    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        lost = make_void(world, monkeypatch, pays(PAYEE))
        assert await wallet.post(wanted) == lost[0]
        entry = await until_resolved(world, lost[0])
        assert (entry.state, entry.error) == (UnitState.FAILED, "the unit lost to a conflicting one")
        unit = await wallet.post(wanted)
        assert (await until_resolved(world, unit)).state is UnitState.STABLE
        assert wallet.coins.balance().total == world.own.balance()
    assert paid_to(world, PAYEE) == [(unit, 70_000)]


# ------------------------------------------------------------------------------------------------------ many coins


async def test_many_small_coins_are_made_into_one(world: World) -> None:
    donor = Party(world.devnet, KeyPair(bytes([78]) * 32))
    world.fund(donor, 50_000_000)
    for _ in range(2):
        donor.post([Output(world.own.address, 50_000)] * 90)
        world.devnet.ledger.settle()
    async with world.running() as runtime:
        wallet = await wallet_of(world, runtime)
        assert len(wallet.coins.coins(BASE)) == 181
        before = wallet.coins.balance().total
        await wallet.tidy()
        [entry] = await journal_of(world)
        assert (entry.purpose, entry.reference) == ("consolidate", BASE)
        await until_resolved(world, entry.unit)
        assert len(wallet.coins.coins(BASE)) == 82
        assert before - wallet.coins.balance().total < 12_000
        await wallet.tidy()
        assert len(await journal_of(world)) == 1
