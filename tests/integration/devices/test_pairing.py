from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.store import contacts
from tests.integration.devices.conftest import another_phone
from tests.integration.devices.support import Node, Phone, eventually
from tests.receiving_support import Payer
from worker.devices.pairing import clean_name

if TYPE_CHECKING:
    from devnet.server import Devnet
    from shared.store.database import Database


async def test_an_invitation_pairs_and_is_answered_with_the_secret_it_asked_for(node: Node, phone: Phone) -> None:
    await node.invite()
    await phone.pair("one-time", reverse_pairing_secret="mine")
    reply = await phone.next("pairing")
    assert reply.body == {"pairing_secret": "mine", "device_name": "Sluice"}
    assert (reply.sender, reply.device_hub) == (node.key.device_address, node.hub)
    found = await node.until_known(phone.address)
    assert (found.pubkey, found.hub, found.name, found.is_confirmed) == (
        phone.key.pubkey_b64,
        phone.hub,
        "Anna's phone",
        True,
    )
    await node.until_read()


async def test_an_invitation_works_once(node: Node, paired: Phone, devnet: Devnet) -> None:
    async with another_phone(devnet) as other:
        await other.pair("one-time")
        await node.until_read()
        assert await node.knows(other.address) is None


async def test_a_permanent_secret_pairs_everybody_who_knows_it(
    devnet: Devnet, database: Database, phone: Phone
) -> None:
    node = Node(devnet, database, pairing_secret="everybody")
    async with node.running(), another_phone(devnet) as other:
        for device in (phone, other):
            await device.pair("everybody")
            await node.until_known(device.address)


NO_INVITATIONS: list[dict[str, Any]] = [
    {"pairing_secret": "guess"},
    {"pairing_secret": "*"},
    {"pairing_secret": ""},
    {"pairing_secret": None},
    {"device_name": ""},
    {"device_name": "x" * 101},
    {"device_name": 5},
    {"reverse_pairing_secret": ""},
    {"reverse_pairing_secret": {}},
]


async def test_the_device_is_called_what_the_settings_say(devnet: Devnet, database: Database, phone: Phone) -> None:
    node = Node(devnet, database, pairing_secret="everybody", device_name="Till 3")
    async with node.running():
        await phone.pair("everybody", reverse_pairing_secret="mine")
        reply = await phone.next("pairing")
    assert reply.body == {"pairing_secret": "mine", "device_name": "Till 3"}


async def test_what_is_no_invitation_of_ours_pairs_nobody(node: Node, phone: Phone) -> None:
    await node.invite()
    for body in NO_INVITATIONS:
        await phone.pair("one-time", **body)
    # A device that could not be answered is none either.
    for hub in ("", "user@host", "h" * 201, "host#x"):
        await phone.send("pairing", {"pairing_secret": "one-time", "device_name": "x"}, hub=hub)
    await node.until_read()
    assert await node.knows(phone.address) is None
    await phone.pair("one-time")  # and none of them has used the invitation up
    await node.until_known(phone.address)


async def test_strangers_are_not_served(node: Node, phone: Phone) -> None:
    await phone.send("object", {"command": "create_channel", "params": Payer().parameters, "tag": "t"})
    await phone.send("text", "hello")
    await node.until_read()
    assert (await phone.next("removed_paired_device")).body == "removed"
    assert await node.knows(phone.address) is None
    async with node.database.connection() as conn:
        assert await contacts.of(conn, Payer().channel) is None


async def test_a_name_is_plain_text() -> None:
    assert clean_name("<b>Bob</b><script") == "Bob"
    assert clean_name("  a\x1b[31m\n ") == "a[31m"
    assert clean_name("<>") == ""


async def test_a_correspondent_that_moves_is_followed_but_not_to_where_nobody_is(node: Node, paired: Phone) -> None:
    for hub in ("", "user@host"):
        await paired.send("object", {"response": 1, "tag": "none"}, hub=hub)
    await node.until_read()
    assert (await node.until_known(paired.address)).hub == paired.hub
    await paired.send("object", {"response": 1, "tag": "none"}, hub="elsewhere.example/bb")

    async def has_moved() -> bool:
        found = await node.knows(paired.address)
        return found is not None and found.hub == "elsewhere.example/bb"

    await eventually(has_moved, "the new hub")


async def test_pairing_again_changes_nothing_but_the_hub(node: Node, paired: Phone) -> None:
    before = await node.until_known(paired.address)
    await node.invite("second")
    await paired.send("pairing", {"pairing_secret": "second", "device_name": "Mallory"}, hub="moved.example")

    async def has_moved() -> Any:
        found = await node.knows(paired.address)
        return found if found is not None and found.hub != before.hub else None

    assert (await eventually(has_moved, "the new hub")).name == before.name


async def test_no_more_devices_are_paired_with_than_can_be_kept(node: Node, paired: Phone, devnet: Devnet) -> None:
    assert node.messenger is not None
    node.messenger._handling._pairings._limit = 1
    await node.invite("second")
    async with another_phone(devnet) as other:
        await other.pair("second")
        await node.until_read()
        assert await node.knows(other.address) is None
        async with node.database.transaction() as conn:
            await conn.execute("UPDATE correspondents SET paired_at = now() - interval '40 days', heard_at = NULL")
        await other.pair("second")  # the refused attempt has not used the invitation up
        await node.until_known(other.address)
        assert await node.knows(paired.address) is None


async def test_guessing_is_slow(node: Node, phone: Phone) -> None:
    assert node.messenger is not None
    node.messenger._handling._pairing_rate._burst = 1
    node.messenger._handling._pairing_rate._per_s = 0
    await node.invite()
    await phone.pair("guess")
    await node.until_read()
    await phone.pair("one-time")
    await node.until_read()
    assert await node.knows(phone.address) is None
