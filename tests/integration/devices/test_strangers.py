"""Devices that believe to be paired with us are told that they are not, so that a new code can pair them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.peers.errors import PeerRefusedError, PeerTimeoutError
from shared.store import contacts, correspondents
from tests.integration.devices.conftest import another_phone
from tests.integration.devices.support import eventually
from tests.receiving_support import Payer
from worker.devices.strangers import REMOVED
from worker.peers import messenger as messenger_transport

if TYPE_CHECKING:
    from devnet.server import Devnet
    from tests.integration.devices.support import Node, Phone

REQUEST: dict[str, Any] = {"command": "create_channel", "params": {}, "tag": "t"}


async def is_told(node: Node, phone: Phone) -> bool:
    """Whether anything was sent to the device, once we have nothing left to do."""
    assert node.messenger is not None
    inbox = node.messenger._inbox
    await node.until_read()

    async def is_idle() -> bool:
        return inbox.is_empty

    await eventually(is_idle, "an empty inbox")
    relay: Any = node.devnet.hub.relay
    return bool(relay._devices[phone.address].messages) or not phone.received.empty()


async def test_a_stranger_who_asks_for_a_channel_is_told_once(node: Node, phone: Phone) -> None:
    await phone.send("object", REQUEST)
    assert (await phone.next(REMOVED)).body == "removed"
    await phone.send("object", REQUEST)
    assert not await is_told(node, phone)


async def test_a_forgotten_device_comes_back_with_a_new_code(node: Node, paired: Phone) -> None:
    async with node.database.transaction() as conn:
        await correspondents.forget(conn, paired.address)
    await paired.send("object", REQUEST)
    await paired.next(REMOVED)
    await node.invite("fresh")
    await paired.pair("fresh")
    await node.until_known(paired.address)
    assert (await paired.ask("dance", {}))["error"]
    async with node.database.transaction() as conn:
        await correspondents.forget(conn, paired.address)
    await paired.send("object", REQUEST)
    await paired.next(REMOVED)


async def test_other_messages_of_strangers_are_not_answered(node: Node, phone: Phone) -> None:
    for subject, body in (
        ("object", {"command": "pay", "params": {}, "tag": "t"}),
        ("object", {"response": 1, "tag": "t"}),
        ("object", "create_channel"),
        ("text", "hello"),
        (REMOVED, "removed"),
    ):
        await phone.send(subject, body)
    assert not await is_told(node, phone)


async def test_a_device_with_an_open_channel_is_not_told(node: Node, phone: Phone) -> None:
    payer = Payer()
    await node.pen.open(payer)
    async with node.database.transaction() as conn:
        await contacts.note_device(conn, payer.channel, phone.address)
    await phone.send("object", REQUEST)
    assert not await is_told(node, phone)


async def test_a_hub_that_cannot_be_is_not_looked_for(node: Node, phone: Phone) -> None:
    await phone.send("object", REQUEST, hub="user@host")
    assert not await is_told(node, phone)
    # It was not its turn: with the hub named the device is told.
    await phone.send("object", REQUEST)
    await phone.next(REMOVED)


async def test_strangers_together_are_told_little(
    node: Node, phone: Phone, devnet: Devnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert node.messenger is not None
    rate = node.messenger._handling._strangers._rate
    monkeypatch.setattr(rate, "_burst", 1)
    monkeypatch.setattr(rate, "_per_s", 0)
    await phone.send("object", REQUEST)
    await phone.next(REMOVED)
    async with another_phone(devnet) as other:
        await other.send("object", REQUEST)
        assert not await is_told(node, other)


async def test_a_device_that_does_not_know_us_any_more_is_paired_with_anew(
    node: Node, other_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ends are Sluice, and one has forgotten the other."""
    monkeypatch.setattr(messenger_transport, "REQUEST_TIMEOUT_S", 0.5)
    with pytest.raises(PeerRefusedError):
        await other_node.peers.to(await node.invite()).request("create_channel", {})
    async with node.database.transaction() as conn:
        await correspondents.forget(conn, other_node.key.device_address)
    with pytest.raises(PeerTimeoutError):
        await other_node.peers.to(await node.invite("second")).request("create_channel", {})

    async def is_parted() -> bool:
        known = await other_node.knows(node.key.device_address)
        return known is not None and not known.is_confirmed

    await eventually(is_parted, "the news")
    with pytest.raises(PeerRefusedError):
        await other_node.peers.to(await node.invite("third")).request("create_channel", {})
