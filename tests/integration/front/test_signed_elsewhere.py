"""Packages that the reference implementation signed, sent to the running front of each network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shared.channels.model import MAX_AMOUNT, Status
from shared.settings import Settings
from shared.store import channels, instance
from shared.store.channel_rows import NewChannel
from shared.store.database import Database, Role
from tests.integration.front.conftest import Front, running_front
from tests.receiving_support import all_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "obyte" / "payment_packages.json").read_text()
)["cases"]
PEERS = ("4LLSURBMWBLF5S6X6NGZZPGK5NZT62V6", "WY2BUWUP7NMMG62V4SJJXV4GXKY7TTEB")
NETWORKS = {"livenet": "mainnet", "testnet": "testnet", "devnet": "devnet"}


def label(case: dict[str, Any]) -> str:
    return f"{case['network']} {case['name']}"


@pytest.fixture(params=CASES, ids=label)
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    chosen: dict[str, Any] = request.param
    return chosen


@pytest.fixture
async def front(database_url: str, case: dict[str, Any]) -> AsyncIterator[Front]:
    """The front of the party that the package was signed for, whose channel with the signer is open."""
    network = NETWORKS[case["network"]]
    message = case["package"]["signed_message"]
    parameters = message.get("channel_parameters", {})
    [own_address] = set(PEERS) - {case["signer"]}
    database = await Database.connect(database_url, role=Role.WORKER)
    async with database.transaction() as conn:
        await instance.declare(conn, network=network, own_address=own_address)
        await instance.heartbeat(conn)
        new = NewChannel(
            aa_address=message["aa_address"],
            own_address=own_address,
            peer_address=case["signer"],
            asset=parameters.get("asset", "base"),
            timeout_s=parameters.get("timeout", 1000),
            salt=parameters.get("salt"),
            version="1.1",
            role="A",
        )
        await channels.insert(conn, new)
        channel = await channels.lock_one(conn, new.aa_address)
        assert channel is not None
        state = replace(channel, status=Status.OPEN, period=message["period"], deposited_by_peer=MAX_AMOUNT)
        await channels.save_transition(conn, replace(state, definition_confirmed=True, last_event_id=1))
    await database.close()
    boundless = dict.fromkeys(("max_by_channel", "sweep_above", "max_total"), MAX_AMOUNT) | {"max_own_deposit": 0}
    settings = Settings(database_url=database_url, network=network, exposure_limits={"*": boundless})
    async with running_front(settings) as running:
        yield running


async def test_it_is_credited(front: Front, case: dict[str, Any]) -> None:
    assert case["signature_valid"]
    answer = await front.pay(case["package"])
    message = case["package"]["signed_message"]
    assert answer["receipt"]["amount"] == message["payment_amount"]
    assert answer["receipt"]["amount_spent"] == message["amount_spent"]
    assert answer["receipt"]["aa_address"] == message["aa_address"]


def _terms(name: str, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda package: {**package, "signed_message": {**package["signed_message"], name: value}}


def _author(name: str, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda package: {**package, "authors": [{**package["authors"][0], name: value}]}


TAMPERINGS = {
    "a larger payment": _terms("payment_amount", 8_999),
    "more spent": _terms("amount_spent", 8_999),
    "another period": _terms("period", 9),
    "another signature": _author("authentifiers", {"r": "A" * 86 + "=="}),
    "another signer": _author("address", "3RRQKBT3MNRJPQW7CNOFTBQZC7TGWA5H"),
    "an unused authentifier": lambda p: _author("authentifiers", {**p["authors"][0]["authentifiers"], "r1": "x"})(p),
    "another version": lambda package: {**package, "version": "1.0"},
    "a timestamp": lambda package: {**package, "timestamp": 1},
    "an unknown field": lambda package: {**package, "note": 1},
}


async def test_every_tampering_is_refused_and_changes_nothing(
    front: Front, case: dict[str, Any], database_url: str
) -> None:
    before = await all_rows(database_url)
    for name, tamper in TAMPERINGS.items():
        answer = await front.pay(tamper(case["package"]))
        assert "error" in answer, name
        assert "receipt" not in answer, name
    assert await all_rows(database_url) == before
