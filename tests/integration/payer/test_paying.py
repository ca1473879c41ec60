"""Payments under every kind of receiver: each is signed once, stored before it leaves, and never forgotten.

The reference's payer (B5) raises what it has spent before sending, and after a time-out, an error or a crash that
amount is gone: it cannot send the same package again. Here it can, always.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shared.channels.errors import InsufficientFundsError, InvalidAmountError, NotPayableError
from shared.obyte.composing import Output, data_message
from shared.peers.answers import ChannelView
from sluice.payer.errors import PayerError, PaymentRefusedError, PaymentUncertainError, UnknownChannelError
from tests.integration.payer.conftest import OPTIONS
from tests.integration.payer.support import BOUND_S, Fault, eventually

if TYPE_CHECKING:
    from tests.integration.payer.conftest import World

UNAVAILABLE = Fault(503, {"retry-after": "0"})


async def test_a_payment_may_be_addressed_to_the_receivers_url(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        receipt = await payer.pay(world.receiver.url, 10)
        assert receipt.aa_address == channel.aa_address
        with pytest.raises(UnknownChannelError):
            await payer.pay("http://127.0.0.1:1/", 10)


async def test_requests_carry_a_fresh_timestamp_and_no_url(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        await channel.pay(10, message={"text": "€"})
    request = json.loads(world.receiver.bodies[-1])
    assert request["command"] == "pay"
    assert request["params"].keys() == {"signed_package", "message"}
    assert request["params"]["message"] == {"text": "€"}
    assert abs(request["timestamp"] - world.devnet.ledger.now_s() * 1000) < 60_000
    assert len(request["tag"]) == 60
    assert request.keys() == {"command", "params", "tag", "timestamp"}
    assert "channel_parameters" not in request["params"]["signed_package"]["signed_message"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(503, {"retry-after": "0"}, acts=True),
        Fault(500, body=b"<html>", acts=True),
        Fault(200, body=b"not json", acts=True),
        Fault(200, body=[1], acts=True),
        Fault(200, body={"neither": 1}, acts=True),
        Fault(302, {"location": "http://127.0.0.1:1/"}, acts=True),
    ],
    ids=["503", "500", "no JSON", "no object", "no response", "redirect"],
)
async def test_b05_a_payment_whose_answer_was_lost_is_sent_again_as_the_same_bytes(world: World, fault: Fault) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        world.receiver.faults.append(fault)
        receipt = await channel.pay(700)
        assert receipt.duplicate
        assert receipt.receiver_payment_id == 100
        assert channel.state.spent_by_me == 700
    first, second = world.receiver.packages
    assert first == second
    assert world.receiver.total == 700


async def test_a_payment_whose_receiver_has_no_answer_yet_says_so_and_is_asked_about_again(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        said = {
            "response": "received payment for 700 base",
            "code": "application_failed",
            "receipt": {"payment_id": 100},
        }
        world.receiver.faults.append(Fault(200, body=said, acts=True))
        receipt = await channel.pay(700)
        assert (receipt.code, receipt.receiver_payment_id) == ("application_failed", 100)
        assert (await payer.resend(receipt.payment_id)).code is None
    assert world.receiver.total == 700


async def test_b05_an_uncertain_payment_stays_counted_and_can_be_sent_again(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        world.receiver.faults.extend([UNAVAILABLE] * 3)
        with pytest.raises(PaymentUncertainError) as uncertain:
            await channel.pay(700)
        assert uncertain.value.code == "peer_unavailable"
        assert channel.state.spent_by_me == 700
        [waiting] = await payer.payments(state="signed")
        assert waiting.id == uncertain.value.payment_id
        receipt = await payer.resend(waiting.id)
        assert (receipt.amount, receipt.amount_spent) == (700, 700)
        assert await payer.payments(state="signed") == ()
    assert len(world.receiver.packages) == 4
    assert all(package == world.receiver.packages[0] for package in world.receiver.packages)
    assert world.receiver.total == 700


async def test_b05_a_receiver_that_is_down_costs_no_money(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        world.receiver.faults.extend([UNAVAILABLE] * 3)
        with pytest.raises(PaymentUncertainError):
            await channel.pay(700)
        await channel.pay(50)
        [waiting] = await payer.payments(state="signed")
        await payer.resend(waiting.id)
    assert world.receiver.total == 750


async def test_b05_a_crash_while_the_receiver_is_silent_loses_nothing(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        world.receiver.faults.append(Fault(hold=asyncio.Event()))
        paying = asyncio.create_task(channel.pay(700))
        await eventually(lambda: "pay" in world.receiver.commands)
        paying.cancel()
        await asyncio.gather(paying, return_exceptions=True)
    [sent] = world.receiver.packages
    async with world.payer(hub_url=None) as payer:
        [waiting] = await payer.payments(state="signed")
        assert payer.state(channel.aa_address).spent_by_me == 700
        receipt = await payer.resend(waiting.id)
        assert receipt.amount == 700
        later = await payer.pay(channel.aa_address, 1)
        assert later.amount_spent == 701
    assert world.receiver.packages[1] == sent
    assert world.receiver.total == 701


async def test_b05_a_package_is_on_the_disk_before_it_leaves(world: World) -> None:
    """A crash after the commit and before the request: the payment is on record though nobody has seen it."""
    async with world.payer() as payer:
        channel = await world.open_channel(payer)

        async def crash(*_: Any) -> None:
            raise asyncio.CancelledError

        payer._desk._deliver = crash  # type: ignore[method-assign, assignment]
        with pytest.raises(asyncio.CancelledError):
            await channel.pay(700)
    assert world.receiver.packages == []
    async with world.payer(hub_url=None) as payer:
        [waiting] = await payer.payments(state="signed")
        assert (await payer.resend(waiting.id)).amount_spent == 700
    assert world.receiver.total == 700


async def test_a_refusal_is_told_with_the_receivers_view_and_the_amount_stays_counted(world: World) -> None:
    view = {"period": 1, "amount_spent": 5, "credit": 2, "status": "open"}
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        world.receiver.refusals.append({"error": "AA not funded enough.", "code": "not_funded", "channel": view})
        with pytest.raises(PaymentRefusedError) as refused:
            await channel.pay(700)
        assert (refused.value.code, refused.value.text) == ("not_funded", "AA not funded enough.")
        assert refused.value.view == ChannelView(period=1, amount_spent=5, credit=2, status="open")
        assert channel.state.spent_by_me == 700
        [remembered] = await payer.payments(state="refused")
        receipt = await payer.resend(refused.value.payment_id)
        assert receipt.payment_id == remembered.id
        assert await payer.payments(state="refused") == ()
        assert (await channel.pay(1)).amount_spent == 701
    assert world.receiver.packages[0] == world.receiver.packages[1]


async def test_a_late_refusal_does_not_undo_an_acceptance(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        receipt = await channel.pay(700)
        world.receiver.refusals.append({"error": "closing initiated"})
        with pytest.raises(PaymentRefusedError) as refused:
            await payer.resend(receipt.payment_id)
        assert refused.value.code == "refused"
        [payment] = await payer.payments()
        assert payment.state == "accepted"


async def test_a_receiver_that_forgot_the_channel_is_told_its_parameters(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer, timeout_s=900, salt="abc")
        world.receiver.refusals.append({"error": "unknown channel", "code": "unknown_channel"})
        with pytest.raises(PaymentRefusedError):
            await channel.pay(1)
        await channel.pay(2)
        await channel.pay(3)
    announced = [package["signed_message"].get("channel_parameters") for package in world.receiver.packages]
    terms = {"address": payer.address, "asset": "base", "timeout": 900, "version": "1.1", "salt": "abc"}
    assert announced == [None, terms, None]


async def test_the_peer_is_asked_once_a_period_whether_it_is_ready_before_anything_is_signed(world: World) -> None:
    world.receiver.readiness.extend([{"error": "AA definition was not published", "code": "x"}] * 2)
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        await asyncio.gather(*(channel.pay(1) for _ in range(5)))
        await channel.pay(1)
    assert world.receiver.commands == ["create_channel", "is_ready", "is_ready", "is_ready", *["pay"] * 6]


async def test_for_a_peer_that_is_not_ready_nothing_is_signed(world: World) -> None:
    world.receiver.readiness.extend([{"error": "not ready", "response": False}] * 20)
    async with world.payer(options=replace(OPTIONS, ready_wait_s=0.2)) as payer:
        channel = await world.open_channel(payer)
        with pytest.raises(PayerError, match="not ready") as refused:
            await channel.pay(1)
        assert refused.value.code == "peer_not_ready"
        assert channel.state.spent_by_me == 0
        assert await payer.payments() == ()


async def test_a_peer_that_forgot_the_channel_is_told_with_the_first_package(world: World) -> None:
    world.receiver.readiness.append({"error": "aa address not known", "code": "unknown_channel"})
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        await channel.pay(1)
    [package] = world.receiver.packages
    assert package["signed_message"]["channel_parameters"]["address"] == payer.address


async def test_concurrent_payments_each_count_once(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        receipts = await asyncio.gather(*(channel.pay(amount) for amount in range(1, 41)))
        assert sorted(receipt.amount for receipt in receipts) == list(range(1, 41))
        assert channel.state.spent_by_me == sum(range(1, 41))
    spent = [receipt.amount_spent for receipt in receipts]
    assert len(set(spent)) == 40
    assert max(spent) == world.receiver.total == 820


async def test_what_cannot_be_paid_is_not_signed(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        for amount, error in ((0, InvalidAmountError), (-1, InvalidAmountError), (True, InvalidAmountError)):
            with pytest.raises(error):
                await channel.pay(amount)
        with pytest.raises(InsufficientFundsError):
            await channel.pay(500_001)
        for message in ("x" * 40_000, {1: object()}, float("nan")):
            with pytest.raises(PayerError) as refused:
                await channel.pay(1, message=message)  # type: ignore[arg-type]
            assert refused.value.code == "invalid_message"
        assert channel.state.spent_by_me == 0
        await channel.pay(500_000)
    assert len(world.receiver.packages) == 1


async def test_a_deposit_on_its_way_can_be_spent(world: World) -> None:
    async with world.payer() as payer:
        world.devnet.pause()
        channel = await payer.open_channel(world.receiver.url, 500_000)
        assert (await channel.pay(400_000)).period == 1
        with pytest.raises(InsufficientFundsError):
            await channel.pay(100_001)
        world.devnet.resume()
        await channel.wait_open(BOUND_S)
        await channel.deposit(20_000)
        await channel.pay(120_000)


async def test_nothing_is_paid_into_a_channel_that_the_peer_is_closing(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        world.devnet.pause()
        closing = data_message({"close": 1, "period": 1})
        unit = world.peer.compose([Output(channel.aa_address, 10_000)], [closing], max_aa_responses=1)
        world.devnet.ledger.post(unit)
        await eventually(lambda: payer._wallet.is_peer_closing(channel.aa_address))
        with pytest.raises(NotPayableError):
            await channel.pay(1)
        world.devnet.resume()
        summary = await channel.settle(BOUND_S)
        assert summary.spent_by_me == 0
    assert world.receiver.packages == []


async def test_unknown_payments_and_channels_are_refused(world: World) -> None:
    async with world.payer(hub_url=None) as payer:
        with pytest.raises(PayerError) as refused:
            await payer.resend(1)
        assert refused.value.code == "unknown_payment"
        with pytest.raises(UnknownChannelError):
            await payer.pay("X" * 32, 1)


async def test_errors_and_reprs_do_not_show_packages(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        world.receiver.faults.extend([UNAVAILABLE] * 3)
        with pytest.raises(PaymentUncertainError) as uncertain:
            await channel.pay(700, message="secret")
        shown = repr(uncertain.value) + repr(await payer.payments()) + repr(channel)
        signature = world.receiver.packages[0]["authors"][0]["authentifiers"]["r"]
        assert signature not in shown
        assert "secret" not in shown
