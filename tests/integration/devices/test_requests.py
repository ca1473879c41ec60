"""Channel requests over messages: the same answers as over HTTP, and each message's effect once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from shared.obyte.device_login import signed
from shared.obyte.hashing import base64_hash
from shared.store import contacts, handled_messages
from tests.integration.devices.conftest import another_phone
from tests.integration.devices.support import Node, Phone, eventually
from tests.receiving_support import OWN, Payer, all_rows, payer_key
from worker.devices.mailbox import Mailbox

if TYPE_CHECKING:
    from devnet.server import Devnet
    from shared.store.database import Database


@pytest.fixture
async def payer(node: Node) -> Payer:
    somebody = Payer()
    await node.pen.open(somebody)
    return somebody


async def contact_of(node: Node, payer: Payer) -> str | None:
    async with node.database.connection() as conn:
        found = await contacts.of(conn, payer.channel)
    assert found is not None
    return found.device


async def test_a_channel_is_created_and_its_contact_is_the_device_that_asked(node: Node, paired: Phone) -> None:
    payer = Payer()
    answer = await paired.ask("create_channel", payer.parameters)
    answer.pop("tag")
    assert answer == {"response": {"address_a": OWN.address, "aa_address": payer.channel}, "url": None}
    assert await contact_of(node, payer) == paired.address


async def test_a_payment_over_messages_gets_a_receipt_and_is_credited(node: Node, paired: Phone, payer: Payer) -> None:
    now_ms = int(time.time() * 1000)
    ready = await paired.ask("is_ready", {"aa_address": payer.channel}, timestamp=now_ms)
    assert (ready["response"], ready["url"]) == (True, None)
    answer = await paired.ask("pay", {"signed_package": payer.package(1000, 600), "message": {"order": 1}})
    assert answer["response"] == "received payment for 600 base"
    assert (answer["receipt"]["amount"], answer["receipt"]["duplicate"]) == (600, False)
    channel = await node.pen.read(payer)
    assert (channel.spent_by_peer, channel.credit) == (1000, 400)
    assert await contact_of(node, payer) == paired.address


async def test_the_contact_follows_the_peer_who_pays_and_nobody_else(
    node: Node, paired: Phone, payer: Payer, devnet: Devnet
) -> None:
    package = payer.package(1000, 1000)
    await paired.ask("pay", {"signed_package": package})
    await node.invite("second")
    async with another_phone(devnet) as other:
        await other.pair("second")
        await node.until_known(other.address)
        assert (await other.ask("create_channel", payer.parameters))["response"]
        assert (await other.ask("pay", {"signed_package": package}))["receipt"]["duplicate"] is True
        assert await contact_of(node, payer) == paired.address
        assert (await other.ask("pay", {"signed_package": payer.package(1001, 1)}))["receipt"]
        assert await contact_of(node, payer) == other.address


REFUSED: list[tuple[Any, Any, dict[str, Any], str]] = [
    ("dance", {}, {}, "command should be create_channel, is_ready, pay"),
    (None, {}, {}, "command should be create_channel, is_ready, pay"),
    ("pay", None, {}, "No params"),
    ("pay", {}, {}, "No signed_package"),
    ("is_ready", {"aa_address": "x"}, {}, "Invalid aa address"),
    ("is_ready", {"aa_address": "x"}, {"timestamp": 1}, "Timestamp too old, check system time"),
    ("is_ready", {"aa_address": "x"}, {"more": 1}, "unknown field 'more'"),
    ("create_channel", {**Payer().parameters, "timeout": 1}, {}, "Channel timeout is too low"),
    ("pay", {"signed_package": {}, "message": "\0"}, {}, "a string contains the character NUL"),
    ("pay", {"message": "x" * 70_000}, {}, "the request is larger than 65536 bytes"),
]


async def test_every_request_is_answered(node: Node, paired: Phone) -> None:
    for command, params, envelope, error in REFUSED:
        answer = await paired.ask(command, params, **envelope)
        assert answer["error"].startswith(error), answer
        assert answer["code"]


async def test_a_refused_payment_is_answered_with_our_view_of_the_channel(
    node: Node, paired: Phone, payer: Payer
) -> None:
    await paired.ask("pay", {"signed_package": payer.package(1000, 900)})
    answer = await paired.ask("pay", {"signed_package": payer.package(1000, 200)})
    assert (answer["code"], answer["channel"]["credit"]) == ("over_credit", 100)


async def test_what_asks_for_nothing_is_never_answered(node: Node, paired: Phone) -> None:
    nothing: list[Any] = ["text", [], None, {"response": 1, "tag": "t"}, {"error": "no", "tag": "t"}, {"tag": "t"}]
    for body in nothing:
        await paired.send("object", body)
    await paired.send("text", "hello")
    await node.until_read()
    assert paired.received.empty()


async def test_a_tag_that_is_none_is_not_sent_back(node: Node, paired: Phone) -> None:
    for tag in ({"deep": 1}, "x" * 500):
        await paired.send("object", {"command": "dance", "tag": tag})
        answer = await paired.next_object()
        assert "tag" not in answer


async def test_an_untruthful_message_is_thrown_away(node: Node, paired: Phone, devnet: Devnet) -> None:
    stolen = await paired.seal("object", {"command": "dance", "tag": "t"})
    async with another_phone(devnet) as mallory:
        forged = await mallory.seal("object", {})
        forged["encrypted_package"] = stolen["encrypted_package"]
        await mallory.deliver(signed({k: v for k, v in forged.items() if k != "signature"}, mallory.key))
        await node.until_read()
        assert mallory.received.empty()
    assert paired.received.empty()


async def test_a_message_that_comes_again_has_no_second_effect_and_no_second_answer(
    node: Node, paired: Phone, payer: Payer, database_url: str
) -> None:
    body = {"command": "pay", "params": {"signed_package": payer.package(1000, 1000)}, "tag": "t"}
    message = await paired.seal("object", body)
    await paired.deliver(message)
    assert (await paired.next()).body
    await node.until_read()
    before = await all_rows(database_url)
    await paired.deliver(message)
    await node.until_read()
    assert paired.received.empty()
    assert await all_rows(database_url) == before


async def test_a_payment_that_was_taken_before_a_crash_is_not_taken_again_after_it(
    devnet: Devnet, database: Database, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, payer = Node(devnet, database), Payer()
    reached = asyncio.Event()

    async def crash(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    async with node.running():
        await node.invite()
        await phone.pair("one-time")
        await node.until_known(phone.address)
        await node.pen.open(payer)
        await node.until_read()
        with monkeypatch.context() as patched:
            patched.setattr(handled_messages, "mark", crash)
            body = {"command": "pay", "params": {"signed_package": payer.package(1000, 1000)}, "tag": "t"}
            message = await phone.seal("object", body)
            await phone.deliver(message)
            await asyncio.wait_for(reached.wait(), 10)
    assert (await node.pen.read(payer)).spent_by_peer == 1000
    assert await node.kept() == [base64_hash(message, typed=True)]
    assert phone.received.empty()
    async with node.running():
        answer = await phone.next_object()
        assert answer["receipt"]["duplicate"] is True
        await node.until_read()
    assert (await node.pen.read(payer)).spent_by_peer == 1000
    async with database.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM payments") == 1


async def test_a_crash_before_the_message_is_deleted_changes_nothing(
    devnet: Devnet, database: Database, phone: Phone, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, payer = Node(devnet, database), Payer()
    reached = asyncio.Event()

    async def crash(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    async with node.running():
        await node.invite()
        await phone.pair("one-time")
        await node.until_known(phone.address)
        await node.pen.open(payer)
        await node.until_read()
        with monkeypatch.context() as patched:
            patched.setattr(Mailbox, "delete", crash)
            body = {"command": "pay", "params": {"signed_package": payer.package(1000, 1000)}, "tag": "t"}
            await phone.send("object", body)
            await asyncio.wait_for(reached.wait(), 10)
    before = await all_rows(database_url)
    assert len(await node.kept()) == 1
    async with node.running():
        await node.until_read()
    after = await all_rows(database_url)
    assert after["payments"] == before["payments"]
    assert after["channels"] == before["channels"]


async def test_what_was_sent_while_we_were_away_is_handled_however_much_it_is(
    devnet: Devnet, database: Database, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(devnet, database)
    async with node.running():
        await node.invite()
        await phone.pair("one-time")
        await node.until_known(phone.address)
        await node.until_read()
    for number in range(130):
        await phone.send("object", {"command": "dance", "tag": str(number)})
    async with node.running():
        await node.until_read()

        async def all_answered() -> bool:
            return phone.received.qsize() == 130

        await eventually(all_answered, "every answer")
    tags = [(await phone.next_object())["tag"] for _ in range(130)]
    assert tags == [str(number) for number in range(130)]


async def test_a_sender_who_writes_too_much_is_not_read(node: Node, paired: Phone) -> None:
    assert node.messenger is not None
    node.messenger._rates._left[paired.key.pubkey_b64] = (2.0, time.monotonic())
    node.messenger._rates._per_s = 0
    for number in range(5):
        await paired.send("object", {"command": "dance", "tag": str(number)})
    await node.until_read()

    async def answered() -> bool:
        return paired.received.qsize() == 2

    await eventually(answered, "two answers")


async def test_what_comes_too_fast_from_all_together_waits_at_the_hub_and_is_not_lost(
    node: Node, paired: Phone
) -> None:
    assert node.messenger is not None
    node.messenger._rate_of_all._left[""] = (1.0, time.monotonic())
    node.messenger._rate_of_all._per_s = 10.0
    for number in range(4):
        await paired.send("object", {"command": "dance", "tag": str(number)})
    tags = {(await paired.next_object())["tag"] for _ in range(4)}
    assert tags == {"0", "1", "2", "3"}
    await node.until_read()


async def test_a_stand_by_reads_what_was_encrypted_for_the_one_before(
    devnet: Devnet, database: Database, phone: Phone
) -> None:
    first, second = Node(devnet, database), Node(devnet, database)
    async with first.running():
        await first.invite()
        await phone.pair("one-time")
        await first.until_known(phone.address)
        message = await phone.seal("object", {"command": "dance", "tag": "t"})
    await phone.deliver(message)
    async with second.running():
        assert (await phone.next()).body


async def grow_older(node: Node) -> None:
    async with node.database.transaction() as conn:
        await conn.execute("UPDATE device_keys SET rotated_at = rotated_at - interval '2 hours'")


async def test_a_used_temporary_key_is_changed_and_the_one_before_still_read(node: Node, paired: Phone) -> None:
    assert node.messenger is not None
    keys, mailbox = node.messenger._keys, node.messenger._mailbox
    assert not await keys.rotate_if_due(), "too early"
    early = await paired.seal("object", {"command": "dance", "tag": "early"})
    await grow_older(node)
    assert await keys.rotate_if_due()
    await grow_older(node)
    assert not await keys.rotate_if_due(), "a new key that nobody has used yet is not changed"
    await paired.deliver(early)  # our hub still takes it: the new key is not published yet
    assert (await paired.next()).body
    await mailbox.publish_key()
    late = await paired.seal("object", {"command": "dance", "tag": "late"})
    used = early["encrypted_package"]["dh"]["recipient_ephemeral_pubkey"]
    assert late["encrypted_package"]["dh"]["recipient_ephemeral_pubkey"] != used
    await paired.deliver(late)
    assert (await paired.next()).body


async def test_keys_lie_sealed_in_the_database(node: Node) -> None:
    assert node.messenger is not None
    keys = node.messenger._keys
    async with node.database.connection() as conn:
        row = await conn.fetchrow("SELECT temp_key FROM device_keys")
    assert row is not None
    assert keys._temporary.private_key not in row["temp_key"]
    assert keys._temporary != keys.permanent


async def test_keys_that_cannot_be_opened_are_replaced(devnet: Devnet, database: Database, phone: Phone) -> None:
    node = Node(devnet, database)
    async with node.running():
        await node.invite()
        await phone.pair("one-time")
        await node.until_known(phone.address)
    async with database.transaction() as conn:
        await conn.execute("UPDATE device_keys SET temp_key = sha256('other')")
    async with node.running():
        assert (await phone.ask("dance", {}))["error"]


async def test_requests_of_different_senders_do_not_wait_for_each_other(
    node: Node, paired: Phone, devnet: Devnet
) -> None:
    assert node.messenger is not None
    free = asyncio.Event()
    serve = node.messenger._handling._requests.serve

    async def slow(message: Any) -> Any:
        if message.sender == paired.address:
            await free.wait()
        return await serve(message)

    node.messenger._handling._requests.serve = slow  # type: ignore[method-assign]
    await paired.send("object", {"command": "dance", "tag": "slow"})
    await node.invite("second")
    async with another_phone(devnet) as other:
        await other.pair("second")
        await node.until_known(other.address)
        assert (await other.ask("dance", {}))["error"]
    assert paired.received.empty()
    free.set()
    assert (await paired.next()).body


async def test_a_peer_that_funds_later_is_waited_for_as_over_http(node: Node, paired: Phone) -> None:
    payer = Payer(payer_key(5))
    asking = asyncio.create_task(paired.ask("pay", {"signed_package": payer.first_package(10, 10)}))

    async def is_known() -> bool:
        async with node.database.connection() as conn:
            return await contacts.of(conn, payer.channel) is not None

    await eventually(is_known, "the channel")
    await node.pen.open(payer)
    node.bus.publish("channel_changed", {"aa_address": payer.channel})
    assert (await asking)["receipt"]["amount"] == 10
