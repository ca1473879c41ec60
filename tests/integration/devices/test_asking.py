"""Requests of ours to devices: paired with first, answered by the device that was asked or not at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from shared.obyte.device_login import temporary_key_package
from shared.obyte.keys import KeyPair
from shared.peers.errors import PeerRefusedError, PeerTimeoutError, PeerUnreachableError
from shared.store import contacts
from tests.integration.devices.conftest import another_phone
from tests.integration.devices.support import Phone
from tests.receiving_support import OWN, Payer, payer_key
from worker.peers import messenger as messenger_transport

if TYPE_CHECKING:
    from devnet.server import Devnet
    from tests.integration.devices.support import Node


async def test_two_receivers_pair_by_a_code_and_one_pays_the_other(node: Node, other_node: Node) -> None:
    payer = Payer(payer_key(3))
    code = await other_node.invite()
    transport = node.peers.to(code)
    assert transport.device == other_node.key.device_address
    created = await transport.request("create_channel", payer.parameters)
    assert created["response"] == {"address_a": OWN.address, "aa_address": payer.channel}
    await other_node.pen.open(payer)
    by_device = node.peers.to(other_node.key.device_address)
    assert (await by_device.request("is_ready", {"aa_address": payer.channel}))["response"] is True
    paid = await by_device.request("pay", {"signed_package": payer.package(5, 5)})
    assert paid["receipt"]["amount"] == 5
    assert (await other_node.pen.read(payer)).spent_by_peer == 5
    async with other_node.database.connection() as conn:
        assert await contacts.of(conn, payer.channel) == contacts.Contact(None, node.key.device_address)
    ours, theirs = await node.knows(other_node.key.device_address), await other_node.knows(node.key.device_address)
    assert ours is not None
    assert theirs is not None
    assert (ours.is_confirmed, ours.name, theirs.is_confirmed) == (True, "Sluice", True)


async def test_a_refusal_over_messages_is_one(node: Node, other_node: Node) -> None:
    transport = node.peers.to(await other_node.invite())
    with pytest.raises(PeerRefusedError) as refused:
        await transport.request("create_channel", {**Payer().parameters, "timeout": 1})
    assert refused.value.code == "timeout_too_low"


async def test_an_answer_counts_only_from_the_device_that_was_asked(node: Node, paired: Phone, devnet: Devnet) -> None:
    await node.invite("second")
    async with another_phone(devnet) as mallory:
        await mallory.pair("second")
        await node.until_known(mallory.address)
        asking = asyncio.create_task(node.peers.to(paired.address).request("create_channel", {}))
        request = await paired.next_object()
        await mallory.send("object", {"response": "forged", "tag": request["tag"], "url": None})
        await node.until_read()
        assert not asking.done()
        await paired.send("object", {"response": "true", "tag": request["tag"], "url": None})
        assert (await asking)["response"] == "true"


async def test_an_answer_that_comes_too_late_changes_nothing(
    node: Node, paired: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger_transport, "REQUEST_TIMEOUT_S", 0.3)
    with pytest.raises(PeerTimeoutError) as late:
        await node.peers.to(paired.address).request("pay", {})
    assert late.value.may_have_acted
    request = await paired.next_object()
    await paired.send("object", {"response": "late", "tag": request["tag"]})
    await node.until_read()
    assert paired.received.empty()


async def test_the_invitation_comes_with_a_secret_that_only_the_inviter_may_use(
    node: Node, phone: Phone, devnet: Devnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger_transport, "REQUEST_TIMEOUT_S", 0.5)
    with pytest.raises(PeerTimeoutError):
        await node.peers.to(phone.code).request("create_channel", {})
    told: Any = (await phone.next("pairing")).body
    assert (told["pairing_secret"], told["device_name"]) == ("phone-secret", "Sluice")
    unconfirmed = await node.knows(phone.address)
    assert unconfirmed is not None
    assert not unconfirmed.is_confirmed
    async with another_phone(devnet) as mallory:
        await mallory.pair(told["reverse_pairing_secret"])
        await node.until_read()
        assert await node.knows(mallory.address) is None
    await phone.pair(told["reverse_pairing_secret"])
    await node.until_read()
    confirmed = await node.knows(phone.address)
    assert confirmed is not None
    assert confirmed.is_confirmed


async def test_a_device_we_are_not_paired_with_is_not_asked(node: Node, phone: Phone) -> None:
    with pytest.raises(PeerUnreachableError) as unpaired:
        await node.peers.to(phone.address).request("pay", {})
    assert (unpaired.value.code, unpaired.value.may_have_acted) == ("not_paired", False)


async def test_our_own_code_leads_nowhere(node: Node) -> None:
    with pytest.raises(PeerUnreachableError) as own:
        await node.peers.to(await node.invite()).request("pay", {})
    assert own.value.code == "not_paired"


async def test_a_hub_that_is_not_there_makes_the_device_unreachable(node: Node, phone: Phone) -> None:
    code = phone.code.replace(phone.hub, "127.0.0.1:1")
    for _ in range(2):
        with pytest.raises(PeerUnreachableError) as away:
            await node.peers.to(code).request("pay", {})
        assert (away.value.code, away.value.may_have_acted) == ("peer_unreachable", False)


async def test_a_device_that_its_hub_does_not_know_is_unreachable(node: Node, devnet: Devnet) -> None:
    with pytest.raises(PeerUnreachableError) as away:
        await node.peers.to(Phone(devnet, 9).code).request("pay", {})
    assert away.value.may_have_acted is False
    assert "not registered" in away.value.text


async def test_the_asker_learns_whether_the_device_may_have_been_reached(
    node: Node, paired: Phone, devnet: Devnet
) -> None:
    async def ask() -> PeerUnreachableError:
        with pytest.raises(PeerUnreachableError) as failed:
            await node.peers.to(paired.address).request("pay", {})
        return failed.value

    devnet.faults.refuse("hub/deliver", "no messages today")
    assert (await ask()).may_have_acted is False
    devnet.faults.refuse("hub/get_temp_pubkey", "temp pub key not set yet")
    assert (await ask()).may_have_acted is False
    devnet.faults.drop_connection_after("hub/deliver")
    assert (await ask()).may_have_acted is True


async def test_a_temporary_key_that_the_hub_has_forged_is_not_used(node: Node, paired: Phone, devnet: Devnet) -> None:
    hubs_own = KeyPair(bytes([56]) * 32)
    devnet.faults.lie("hub/get_temp_pubkey", lambda package: {**package, "temp_pubkey": hubs_own.pubkey_b64})
    with pytest.raises(PeerUnreachableError) as refused:
        await node.peers.to(paired.address).request("pay", {})
    assert "signature" in refused.value.text
    assert paired.received.empty()


async def test_a_temporary_key_that_changes_meanwhile_is_asked_for_again(
    node: Node, paired: Phone, devnet: Devnet
) -> None:
    outdated = temporary_key_package(KeyPair(bytes([55]) * 32).pubkey_b64, paired.key)
    devnet.faults.lie("hub/get_temp_pubkey", lambda _: outdated)
    asking = asyncio.create_task(node.peers.to(paired.address).request("create_channel", {}))
    request = await paired.next_object()
    await paired.send("object", {"response": 1, "tag": request["tag"]})
    assert (await asking)["response"] == 1


async def test_after_a_lost_connection_answers_come_again(node: Node, paired: Phone) -> None:
    assert node.messenger is not None
    client = node.messenger._mailbox._client
    assert client is not None
    await client.close()
    assert (await paired.ask("dance", {}))["error"]
    assert node.messenger._mailbox._client is not client


async def test_only_so_many_answers_are_waited_for(node: Node, paired: Phone) -> None:
    assert node.messenger is not None
    node.messenger._asking._pending._limit = 0
    with pytest.raises(PeerUnreachableError) as busy:
        await node.peers.to(paired.address).request("pay", {})
    assert (busy.value.code, busy.value.may_have_acted) == ("peer_unavailable", False)
