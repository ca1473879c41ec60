"""The worker opens channels with receivers and pays through them, each thing once, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import worker.commands.opening
import worker.peers.http
from shared.channels.model import Status
from shared.obyte.keys import KeyPair
from shared.obyte.signed_messages import verify_signed_message
from shared.store import channels, deposits, refills, sent_payments
from shared.store.sent_payments import SentState
from tests.integration.payer.support import Fault, Receiver, listening
from tests.integration.worker.support import OWN_KEY, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.channels.model import Channel
    from shared.store.channel_rows import StoredChannel
    from shared.store.commands import Command
    from tests.integration.worker.support import World

RECEIVER_KEY = KeyPair(bytes([42]) * 32)
LOST = Fault(status=503, acts=True)
AWAY = Fault(status=503)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver(RECEIVER_KEY)) as receiver:
        yield receiver


async def stored(world: World) -> list[StoredChannel]:
    async with world.database.connection() as conn:
        return await channels.page(conn)


async def state(world: World, aa_address: str) -> Channel:
    [found] = [item.channel for item in await stored(world) if item.channel.aa_address == aa_address]
    return found


async def sent(world: World, aa_address: str) -> list[tuple[int, SentState]]:
    async with world.database.connection() as conn:
        return [(item.amount_spent, item.state) for item in await sent_payments.of_channel(conn, aa_address)]


def code_of(command: Command) -> str:
    return (command.error or "").split(":", maxsplit=1)[0]


async def opened(world: World, receiver: Receiver, amount: int = 1_000_000, **params: Any) -> str:
    """Open a channel to the receiver and wait until the ledger has it."""
    command = await world.done("open", peer=receiver.url, initial_amount=amount, **params)
    assert command.error is None, command.error
    aa_address: str = command.result["aa_address"]

    async def is_open() -> bool:
        return (await state(world, aa_address)).status is Status.OPEN

    await eventually(is_open, "an open channel")
    return aa_address


@asynccontextmanager
async def paying(world: World, receiver: Receiver) -> AsyncIterator[str]:
    """A running worker with an open channel to the receiver."""
    async with world.running():
        yield await opened(world, receiver)


# ----------------------------------------------------------------------------------------------------------- opening


async def test_a_channel_is_opened_with_its_agent_and_first_deposit_in_one_unit(
    world: World, receiver: Receiver
) -> None:
    async with world.running():
        command = await world.done(
            "open", peer=receiver.url, initial_amount=300_000, auto_refill={"amount": 50_000, "threshold": 10_000}
        )
        aa_address = command.result["aa_address"]

        async def is_open() -> bool:
            return (await state(world, aa_address)).deposited_by_me == 300_000

        await eventually(is_open, "our deposit")
    [row] = await stored(world)
    assert (row.role, row.peer_url, row.salt) == ("B", f"{receiver.url}/", command.result["salt"])
    assert (row.channel.peer_address, row.channel.definition_confirmed) == (RECEIVER_KEY.address, True)
    unit = world.devnet.ledger.state.dag.records[command.result["unit"]].unit
    assert sorted(message["app"] for message in unit["messages"]) == ["definition", "payment"]
    assert "max_aa_responses" not in unit
    async with world.database.connection() as conn:
        assert await refills.of(conn, aa_address) is not None
        assert [deposit.amount for deposit in await deposits.of(conn, aa_address)] == [300_000]
    [asked] = [json.loads(body)["params"] for body in receiver.bodies]
    assert asked == {
        "address": OWN_KEY.address,
        "asset": "base",
        "timeout": 1_000,
        "version": "1.1",
        "salt": command.result["salt"],
    }
    assert len(command.result["salt"]) == 50


async def test_the_owner_of_a_payment_address_is_not_asked(world: World, receiver: Receiver) -> None:
    async with world.running():
        command = await world.done("open", peer=RECEIVER_KEY.address, initial_amount=300_000, salt="s", timeout=900)
    assert (command.error, receiver.bodies) == (None, [])
    [row] = await stored(world)
    assert (row.channel.peer_address, row.channel.timeout_s, row.salt, row.peer_url) == (
        RECEIVER_KEY.address,
        900,
        "s",
        None,
    )


async def test_a_peer_who_refuses_is_not_paid(world: World, receiver: Receiver) -> None:
    receiver.refusals.append({"error": "Channel timeout is too low, min acceptable: 2000 seconds"})
    async with world.running():
        command = await world.done("open", peer=receiver.url, initial_amount=300_000)
    assert command.error == (
        "peer_refused: the peer refuses the channel: Channel timeout is too low, min acceptable: 2000 seconds"
    )
    assert await stored(world) == []


async def test_no_text_of_a_refusing_peer_can_end_the_vault(world: World, receiver: Receiver) -> None:
    text = "no\x00"
    receiver.refusals.append({"error": text, "code": text})
    async with world.running():
        command = await world.done("open", peer=receiver.url, initial_amount=300_000)
        assert code_of(command) == "peer_refused"
        aa_address = await opened(world, receiver)
        receiver.refusals.append({"error": text, "code": text})
        assert code_of(await world.done("pay", aa_address, amount=1_000)) in {"peer_refused", "peer_not_ready"}


async def test_a_peer_who_lies_about_the_channel_is_not_paid(world: World, receiver: Receiver) -> None:
    async with world.running():
        for lie in (OWN_KEY.address, "NOT-AN-ADDRESS", KeyPair(bytes([43]) * 32).address):
            receiver.address_a = lie
            command = await world.done("open", peer=receiver.url, initial_amount=300_000)
            assert code_of(command) == "invalid_peer_answer"
    assert await stored(world) == []


async def test_r03_an_answer_that_comes_too_late_opens_nothing(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.peers.http, "REQUEST_TIMEOUT_S", 0.2)
    monkeypatch.setattr(worker.commands.opening, "PATIENCE_S", 0.2)
    late = asyncio.Event()
    receiver.faults.extend([Fault(hold=late)] * 5)
    async with world.running():
        command = await world.done("open", peer=receiver.url, initial_amount=300_000)
        late.set()
        await world.done("publish_agent", version="0.9")  # a round of the worker later
    assert code_of(command) == "peer_timeout"
    assert await stored(world) == []
    assert world.own.balance() == 10_000_000


async def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_salt(world: World, receiver: Receiver) -> None:
    receiver.faults.append(LOST)
    async with world.running():
        await opened(world, receiver)
    assert receiver.commands == ["create_channel", "create_channel"]
    assert len({json.loads(body)["params"]["salt"] for body in receiver.bodies}) == 1
    assert len(await stored(world)) == 1


async def test_what_cannot_be_opened_is_refused_at_once(world: World) -> None:
    address = RECEIVER_KEY.address
    orders: list[tuple[dict[str, Any], str]] = [
        ({"peer": "http://127.0.0.1:1/", "initial_amount": 10_000}, "invalid_amount"),
        ({"peer": "ftp://127.0.0.1/", "initial_amount": 300_000}, "invalid_contact"),
        ({"peer": OWN_KEY.address, "initial_amount": 300_000}, "own_address"),
        ({"peer": address, "initial_amount": 300_000, "version": "9.9"}, "unknown_agent_version"),
        ({"peer": address, "initial_amount": 300_000, "asset": "gold"}, "bad_command"),
        ({"peer": address}, "bad_command"),
    ]
    async with world.running():
        for params, code in orders:
            assert code_of(await world.done("open", **params)) == code
    assert await stored(world) == []


# ------------------------------------------------------------------------------------------------------------ paying


async def test_a_payment_is_signed_once_and_its_answer_kept(world: World, receiver: Receiver) -> None:
    async with paying(world, receiver) as aa_address:
        first = await world.done("pay", aa_address, amount=700, message={"order": 7})
        second = await world.done("pay", aa_address, amount=300)
    assert first.result == {
        "period": 1,
        "amount": 700,
        "amount_spent": 700,
        "response": "received 700",
        "receipt": {"payment_id": 100, "duplicate": False},
    }
    assert second.result["amount_spent"] == 1_000
    said: Any = verify_signed_message(receiver.packages[1], world.devnet.ledger.network).payload
    assert said == {"payment_amount": 300, "amount_spent": 1_000, "period": 1, "aa_address": aa_address}
    assert receiver.commands.count("is_ready") == 1, "once in a period"
    assert [json.loads(body)["params"].get("message") for body in receiver.bodies[-2:]] == [{"order": 7}, None]
    assert await sent(world, aa_address) == [(1_000, SentState.DELIVERED), (700, SentState.DELIVERED)]
    assert (await state(world, aa_address)).spent_by_me == 1_000


async def test_b05_a_package_whose_answer_was_lost_is_sent_again_as_the_same_bytes(
    world: World, receiver: Receiver
) -> None:
    async with paying(world, receiver) as aa_address:
        receiver.faults.extend([LOST, AWAY])
        command = await world.done("pay", aa_address, amount=700)
    assert (command.error, command.result["receipt"]["duplicate"]) == (None, True)
    assert len(receiver.packages) == 3
    assert len({json.dumps(package) for package in receiver.packages}) == 1
    assert receiver.total == 700


async def test_b05_an_uncertain_payment_stays_counted_and_can_be_sent_again(world: World, receiver: Receiver) -> None:
    async with paying(world, receiver) as aa_address:
        receiver.faults.extend([AWAY] * 100)
        command = await world.done("pay", aa_address, amount=700)
        assert code_of(command) == "uncertain"
        assert command.result == {"period": 1, "amount": 700, "amount_spent": 700}
        assert await sent(world, aa_address) == [(700, SentState.UNCERTAIN)]
        assert (await state(world, aa_address)).spent_by_me == 700

        receiver.faults.clear()
        again = await world.done("resend", aa_address, period=1, amount_spent=700)
        once_more = await world.done("resend", aa_address, period=1, amount_spent=700)
    assert (again.error, again.result) == (None, once_more.result)
    assert len({json.dumps(package) for package in receiver.packages}) == 1
    assert receiver.total == 700


async def test_b04_a_payment_that_the_peer_refuses_stays_counted(world: World, receiver: Receiver) -> None:
    async with paying(world, receiver) as aa_address:
        receiver.refusals.append({"error": "wrong period", "code": "wrong_period"})
        command = await world.done("pay", aa_address, amount=700)
        assert command.error == "peer_refused: wrong period"
        assert await sent(world, aa_address) == [(700, SentState.REFUSED)]
        after = await world.done("pay", aa_address, amount=1)
    assert after.result["amount_spent"] == 701


async def test_nothing_is_signed_for_a_peer_who_is_not_ready(world: World, receiver: Receiver) -> None:
    async with paying(world, receiver) as aa_address:
        receiver.readiness.extend([{"response": False, "error": "not ready, no spendable unconfirmed funds"}] * 100)
        command = await world.done("pay", aa_address, amount=700)
        assert command.error == (
            "peer_not_ready: the peer takes no payments yet: not ready, no spendable unconfirmed funds"
        )
        assert await sent(world, aa_address) == []
    assert receiver.packages == []


async def test_a_peer_who_has_forgotten_the_channel_is_told_its_parameters(world: World, receiver: Receiver) -> None:
    async with paying(world, receiver) as aa_address:
        receiver.readiness.append({"response": False, "error": "aa address not known"})
        await world.done("pay", aa_address, amount=700)
    [row] = await stored(world)
    assert receiver.packages[0]["signed_message"]["channel_parameters"] == {
        "address": OWN_KEY.address,
        "asset": "base",
        "timeout": 1_000,
        "version": "1.1",
        "salt": row.salt,
    }


async def test_what_cannot_be_paid_is_refused_before_anybody_is_asked(world: World, receiver: Receiver) -> None:
    amounts: list[tuple[Any, str]] = [(1_000_001, "insufficient_funds"), (0, "bad_command"), (True, "bad_command")]
    async with paying(world, receiver) as aa_address:
        for amount, code in amounts:
            assert code_of(await world.done("pay", aa_address, amount=amount)) == code
        assert code_of(await world.done("resend", aa_address, period=1, amount_spent=5)) == "unknown_payment"
    assert receiver.commands == ["create_channel"]


async def test_nobody_pays_in_a_channel_that_is_closing(world: World, receiver: Receiver) -> None:
    async with paying(world, receiver) as aa_address:
        await world.done("pay", aa_address, amount=700)
        await world.done("close", aa_address)
        assert code_of(await world.done("pay", aa_address, amount=700)) == "not_payable"
    assert len(receiver.packages) == 1


async def test_what_we_have_earned_can_be_spent_back_but_not_to_a_url_that_the_peer_has_told(
    world: World, receiver: Receiver
) -> None:
    async with world.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, 5_000)
        async with world.database.transaction() as conn:
            await conn.execute("UPDATE channels SET peer_url = $1", f"{receiver.url}/")
        refused = await world.done("pay", peer.channel, amount=1_000)
        assert (code_of(refused), receiver.bodies) == ("no_contact", [])
        named = await world.done("pay", peer.channel, amount=1_000, peer=receiver.url)
    assert named.error is None
    assert receiver.total == 1_000


async def test_many_payments_at_once_are_signed_one_after_the_other(world: World, receiver: Receiver) -> None:
    async with paying(world, receiver) as aa_address:
        ordered = [await world.order("pay", aa_address, amount=amount) for amount in range(1, 13)]
        done = [await world.until_done(command_id) for command_id in ordered]
    assert [command.error for command in done] == [None] * 12
    assert sorted(command.result["amount"] for command in done) == list(range(1, 13))
    assert len({command.result["amount_spent"] for command in done}) == 12
    assert receiver.total == 78


async def test_no_package_is_told_to_anybody_but_the_peer(
    world: World, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    async with paying(world, receiver) as aa_address:
        receiver.faults.append(AWAY)
        command = await world.done("pay", aa_address, amount=700)
        async with world.database.connection() as conn:
            payment = await sent_payments.of_command(conn, command.id)
    signature = receiver.packages[0]["authors"][0]["authentifiers"]["r"]
    assert payment is not None
    assert signature in payment.package
    assert signature not in repr(payment)
    assert signature not in json.dumps([command.result, command.progress, command.params])
    assert all(signature not in str(record.msg) for record in caplog.records)
