"""A payer on the local ledger, a receiver on loopback, and a peer that settles by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest_asyncio

from shared.obyte.composing import Output, data_message
from shared.obyte.keys import payment_key
from sluice.payer import Payer, PayerChannel, PayerOptions
from sluice.payer.peers import RetryPolicy
from tests.devnet_support import Actor
from tests.integration.payer.support import BOUND_S, Receiver, listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from devnet.server import Devnet

MNEMONIC = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
PAYER_ADDRESS = payment_key(MNEMONIC).address
OPTIONS = PayerOptions(
    retry=RetryPolicy(attempts=3, first_pause_s=0.01, longest_pause_s=0.05, give_up_after_s=5),
    request_timeout_s=5,
    hub_timeout_s=5,
    confirm_margin_s=0,
)
FUNDS = 1_000_000_000


@dataclass
class World:
    """Everything a test needs; `payer()` opens the payer, again after every crash."""

    devnet: Devnet
    home: Path
    receiver: Receiver
    peer: Actor

    def payer(self, **more: Any) -> AbstractAsyncContextManager[Payer]:
        settings: dict[str, Any] = {"hub_url": self.devnet.url, "clock": self.devnet.ledger.now_s, "options": OPTIONS}
        return Payer.open(self.home, network="devnet", mnemonic=MNEMONIC, **{**settings, **more})

    def triggers(self, aa_address: str) -> list[dict[str, Any]]:
        """The payer's units to an agent, in order of arrival."""
        units = [record.unit for record in self.devnet.ledger.state.dag.records.values()]
        return [unit for unit in units if _is_from_payer(unit) and aa_address in _paid(unit)]

    def confirm(self, aa_address: str, period: int = 1) -> None:
        """Have the peer confirm the payer's closing."""
        unit = self.peer.compose(
            [Output(aa_address, 10_000)], [data_message({"confirm": 1, "period": period})], max_aa_responses=1
        )
        self.devnet.ledger.post(unit)

    async def open_channel(self, payer: Payer, deposit: int = 500_000, **terms: Any) -> PayerChannel:
        channel = await payer.open_channel(self.receiver.url, deposit, **terms)
        await channel.wait_open(BOUND_S)
        return channel


def _is_from_payer(unit: dict[str, Any]) -> bool:
    return [author["address"] for author in unit["authors"]] == [PAYER_ADDRESS]


def _paid(unit: dict[str, Any]) -> set[str]:
    return {
        output["address"]
        for message in unit["messages"]
        if message["app"] == "payment"
        for output in message["payload"]["outputs"]
    }


@pytest_asyncio.fixture
async def world(devnet: Devnet, tmp_path: Path) -> AsyncIterator[World]:
    peer = Actor(devnet.ledger, 7)
    peer.fund()
    devnet.ledger.treasury.fund(PAYER_ADDRESS, FUNDS)
    devnet.ledger.settle()
    async with listening(Receiver(peer.key)) as receiver:
        yield World(devnet, tmp_path / "payer", receiver, peer)
