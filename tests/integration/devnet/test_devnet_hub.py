"""The local hub over real sockets, used by the product's own client, composer and proofs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Self

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from shared.obyte.agents import channel_address, channel_definition
from shared.obyte.coins import CoinSet
from shared.obyte.composing import Output, compose, data_message, definition_message
from shared.obyte.history import ProvenHistory, prove_history
from shared.obyte.hub_client import HubClient
from shared.obyte.hub_errors import HubClosedError, HubTimeoutError, JointRefusedError
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET, LIVENET
from shared.obyte.signed_messages import sign_message

if TYPE_CHECKING:
    from devnet.server import Devnet

PATIENCE_S = 10.0


class LightWallet:
    """A light wallet of one key that believes nothing but proofs."""

    def __init__(self, hub: HubClient, number: int, witnesses: tuple[str, ...]) -> None:
        self.hub = hub
        self.key = KeyPair(bytes([number]) * 32)
        self.address = self.key.address
        self.witnesses = witnesses
        self.coins = CoinSet(frozenset([self.address]))
        self.watched = {self.address}

    @classmethod
    async def open(cls, devnet: Devnet, number: int) -> Self:
        hub = HubClient(devnet.url, DEVNET, request_timeout_s=PATIENCE_S)
        await hub.connect()
        wallet = cls(hub, number, devnet.witnesses)
        await hub.watch_address(wallet.address)
        return wallet

    async def history(self) -> ProvenHistory:
        answer = await self.hub.get_history(witnesses=self.witnesses, addresses=sorted(self.watched))
        proven = prove_history(answer, self.witnesses, DEVNET, now_s=time.time(), max_age_s=300)
        for unit in proven.units:
            sequence = "bad" if unit.is_nonserial else "good"
            self.coins.apply(unit.unit, is_stable=unit.is_stable, mci=unit.mci_hint, sequence=sequence)
        return proven

    async def until(self, is_there: Any) -> ProvenHistory:
        """Ask for the history at every hint until a condition on it holds."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                proven = await self.history()
                if is_there(proven):
                    return proven
                await self.hub.next_notification()

    async def compose(self, payments: list[Output], messages: list[Any], *, responses: int | None = None) -> Any:
        parents = await self.hub.get_parents(
            witnesses=self.witnesses,
            from_addresses=[self.address],
            output_addresses=[self.address, *(payment.address for payment in payments)],
            now_s=time.time(),
            max_aa_responses=responses or 10,
        )
        return compose(
            network=DEVNET,
            key=self.key,
            coins=self.coins.spendable(policy="own"),
            parents=parents,
            payments=payments,
            messages=messages,
            include_definition=not self.coins.definition_disclosed(self.address, parents.last_ball_mci),
            max_aa_responses=responses,
        )

    async def send(self, payments: list[Output], messages: Any = (), *, responses: int | None = None) -> str:
        joint = await self.compose(payments, list(messages), responses=responses)
        await self.hub.post_joint(joint.as_json())
        self.coins.apply(joint.unit, is_stable=False)
        return str(joint.unit_hash)


def payloads(proven: ProvenHistory, agent: str) -> list[dict[str, Any]]:
    """What the agent said in units that are proven stable, in order."""
    said = []
    for unit in reversed(proven.units):
        content: Any = unit.unit
        if unit.is_stable and content["authors"][0]["address"] == agent:
            said += [message["payload"] for message in content["messages"] if message["app"] == "data"]
    return sorted(said, key=lambda payload: int(payload["event_id"]))


async def test_life_of_a_channel_as_two_light_wallets_see_it(devnet: Devnet) -> None:
    alice, bob = await LightWallet.open(devnet, 1), await LightWallet.open(devnet, 2)
    for wallet in (alice, bob):
        await wallet.hub.request("devnet/fund", {"address": wallet.address, "amount": 1_000_000})
        await wallet.until(lambda proven: any(unit.is_stable for unit in proven.units))
    channel = channel_address(alice.address, bob.address, "base", 1000, "salt")
    definition = channel_definition(alice.address, bob.address, "base", 1000, "salt")
    for wallet in (alice, bob):
        wallet.watched.add(channel)
        await wallet.hub.watch_address(channel)

    await bob.send([Output(channel, 300_000)], [definition_message(channel, definition)])
    for wallet in (alice, bob):
        proven = await wallet.until(lambda proven: payloads(proven, channel))
        assert payloads(proven, channel)[0][bob.address] == 300_000

    terms = {"payment_amount": 120_000, "amount_spent": 120_000, "period": 1, "aa_address": channel}
    claim = sign_message(terms, bob.key, DEVNET)
    await alice.send(
        [Output(channel, 10_000)], [data_message({"close": 1, "period": 1, "sentByPeer": claim})], responses=1
    )
    proven = await bob.until(lambda proven: len(payloads(proven, channel)) == 2)
    assert payloads(proven, channel)[1][bob.address] == 120_000

    before = alice.coins.balance().total
    await bob.send([Output(channel, 10_000)], [data_message({"confirm": 1, "period": 1})], responses=1)
    for wallet in (alice, bob):
        await wallet.until(lambda proven: len(payloads(proven, channel)) == 3)
    payout = next(coin for coin in alice.coins.coins() if coin.is_stable and coin.author_is_agent)
    assert payout.amount == 120_000 + 10_000
    assert alice.coins.balance().total == before + payout.amount
    for wallet in (alice, bob):
        await wallet.hub.close()


async def test_units_become_provable_by_themselves(devnet: Devnet) -> None:
    wallet = await LightWallet.open(devnet, 1)
    await wallet.hub.request("devnet/fund", {"address": wallet.address, "amount": 5_000})
    proven = await wallet.until(lambda proven: proven.units and proven.units[0].is_stable)
    assert wallet.coins.balance().stable == 5_000
    assert proven.proof_timestamp_s
    await wallet.hub.close()


async def test_paused_hub_takes_units_but_nothing_becomes_stable(devnet: Devnet) -> None:
    devnet.pause()
    wallet = await LightWallet.open(devnet, 1)
    await wallet.hub.request("devnet/fund", {"address": wallet.address, "amount": 5_000})
    proven = await wallet.until(lambda proven: proven.units)
    assert not proven.units[0].is_stable
    await devnet.stabilise()
    await wallet.until(lambda proven: proven.units[0].is_stable)
    await wallet.hub.request("devnet/fund", {"address": wallet.address, "amount": 6_000})
    devnet.resume()
    await wallet.until(lambda proven: all(unit.is_stable for unit in proven.units) and len(proven.units) > 1)
    await wallet.hub.close()


async def test_lost_answer_leaves_the_unit_accepted(devnet: Devnet) -> None:
    wallet = await LightWallet.open(devnet, 1)
    await wallet.hub.request("devnet/fund", {"address": wallet.address, "amount": 100_000})
    await wallet.until(lambda proven: proven.units and proven.units[0].is_stable)
    joint = await wallet.compose([Output(devnet.ledger.treasury.address, 1_000)], [])
    devnet.faults.lose_answer("post_joint")
    with pytest.raises(HubTimeoutError):
        await wallet.hub.request("post_joint", joint.as_json(), timeout_s=0.2)
    assert await wallet.hub.get_joint(joint.unit_hash) is not None
    await wallet.hub.post_joint(joint.as_json())  # already known: as good as accepted
    await wallet.hub.close()


async def test_refused_unit_says_why(devnet: Devnet) -> None:
    wallet = await LightWallet.open(devnet, 1)
    await wallet.hub.request("devnet/fund", {"address": wallet.address, "amount": 100_000})
    await wallet.until(lambda proven: proven.units and proven.units[0].is_stable)
    first = await wallet.compose([Output(devnet.ledger.treasury.address, 1_000)], [])
    second = await wallet.compose([Output(devnet.ledger.treasury.address, 2_000)], [])
    await wallet.hub.post_joint(first.as_json())
    with pytest.raises(JointRefusedError) as refused:
        await wallet.hub.post_joint(second.as_json())
    assert refused.value.kind == "double_spend"
    await wallet.hub.close()


async def test_cut_connections_are_gone_and_can_be_made_again(devnet: Devnet) -> None:
    wallet = await LightWallet.open(devnet, 1)
    devnet.drop_connections()
    async with asyncio.timeout(PATIENCE_S):
        await wallet.hub.wait_closed()
    with pytest.raises(HubClosedError):
        await wallet.hub.get_witnesses()
    await wallet.hub.close()
    again = await LightWallet.open(devnet, 1)
    assert await again.hub.get_witnesses() == devnet.witnesses
    await again.hub.close()


async def test_hub_comes_back_where_it_was_and_with_what_it_had(devnet: Devnet) -> None:
    wallet = await LightWallet.open(devnet, 1)
    await wallet.hub.request("devnet/fund", {"address": wallet.address, "amount": 5_000})
    url = devnet.url
    await devnet.stop()
    await wallet.hub.wait_closed()
    await wallet.hub.close()
    with pytest.raises(HubClosedError):
        await LightWallet.open(devnet, 1)
    await devnet.start()
    assert devnet.url == url
    again = await LightWallet.open(devnet, 1)
    await again.until(lambda proven: proven.units and proven.units[0].is_stable)
    await again.hub.close()


async def test_skipped_time_is_in_the_next_units(devnet: Devnet) -> None:
    async with HubClient(devnet.url, DEVNET) as hub:
        before = devnet.ledger.now_s()
        await hub.request("devnet/skip_time", {"seconds": 1_000, "agents_only": False})
        assert devnet.ledger.advance().timestamp_s >= int(before) + 1_000


async def test_client_of_another_network_is_turned_away(devnet: Devnet) -> None:
    async with connect(devnet.url) as socket:
        body = {"protocol_version": LIVENET.version, "alt": LIVENET.alt, "library": "ocore", "library_version": "0.4.6"}
        await socket.send(json.dumps(["justsaying", {"subject": "version", "body": body}]))
        async with asyncio.timeout(PATIENCE_S):
            await socket.wait_closed()


async def test_frames_over_six_mebibytes_end_the_connection(devnet: Devnet) -> None:
    socket = await connect(devnet.url, compression=None)
    with contextlib.suppress(ConnectionClosed):
        await socket.send("x" * (6 * 1024 * 1024 + 1))
    async with asyncio.timeout(PATIENCE_S):
        await socket.wait_closed()


async def test_hundred_clients_are_served(devnet: Devnet) -> None:
    clients = [HubClient(devnet.url, DEVNET) for _ in range(100)]
    await asyncio.gather(*(client.connect() for client in clients))
    answers = await asyncio.gather(*(client.get_witnesses() for client in clients))
    assert set(answers) == {devnet.witnesses}
    await asyncio.gather(*(client.close() for client in clients))
