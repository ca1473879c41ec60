"""The load that fault tests stand on counts what it sees: no retry hides a failure, and no lie of a receiver passes."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from load_tests.faults.load import Load, Mix
from load_tests.faults.payers import LoadPayer
from load_tests.faults.wire import Kind
from shared.obyte.keys import KeyPair
from tests.http_servers import Asked, http_server, reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RECEIVER = KeyPair(bytes(31) + b"\x07").address
BOUND_S = 20.0


class Receiver:
    """Gives receipts as one does; `faults` are given in their place, one for each request, until they are used up."""

    def __init__(self, *faults: bytes) -> None:
        self.faults = list(faults)
        self.bodies: list[bytes] = []
        self._numbers: dict[bytes, int] = {}

    async def __call__(self, asked: Asked) -> bytes:
        self.bodies.append(asked.body)
        if self.faults:
            return self.faults.pop(0)
        return reply(json.dumps({"response": "ok", "receipt": self.receipt(asked.body)}).encode())

    def receipt(self, body: bytes) -> dict[str, Any]:
        is_known = body in self._numbers
        number = self._numbers.setdefault(body, len(self._numbers) + 1)
        signed = json.loads(body)["params"]["signed_package"]["signed_message"]
        terms = {name: signed[name] for name in ("aa_address", "period", "amount_spent")}
        return {**terms, "payment_id": number, "amount": signed["payment_amount"], "duplicate": is_known}


class Forgetful(Receiver):
    """Takes a package that it knows for a new one."""

    def receipt(self, body: bytes) -> dict[str, Any]:
        return {**super().receipt(body), "payment_id": len(self.bodies), "duplicate": False}


async def after(
    receiver: Callable[[Asked], Awaitable[bytes]], *, payments: int = 5, mix: Mix | None = None
) -> tuple[Load, LoadPayer]:
    payer = LoadPayer(0, RECEIVER, 1, random.Random(1))
    for channel in payer.channels:
        channel.begin()
    async with http_server(receiver) as server:
        load = Load(server.url, [payer], random.Random(1), mix or Mix(resent=0, twins=0))
        async with load.flowing(BOUND_S):
            await load.until(payments, BOUND_S)
            while not load.tally.raw:  # noqa: ASYNC110 - it is counted up
                await asyncio.sleep(0.01)
    return load, payer


async def test_each_answer_is_counted_and_the_same_bytes_are_sent_until_there_is_a_receipt() -> None:
    receiver = Receiver(reply(b'{"code": "not_now"}', 503), b"", reply(b"<html>", 502))
    load, payer = await after(receiver)
    tally = load.tally
    assert tally.answers[Kind.UNAVAILABLE, "503 not_now"] == 1
    assert tally.answers[Kind.UNAVAILABLE, "502"] == 1
    assert tally.answers[Kind.CUT, "IncompleteReadError"] == 1
    assert (tally.failed, tally.raw) == (3, len(receiver.bodies))
    assert len(set(receiver.bodies[:4])) == 1
    assert tally.payments == len(payer.channels[0].packages)
    assert (tally.contradictions, tally.refusals, tally.unresolved) == ([], [], 0)


async def test_a_refusal_ends_the_channel_and_is_told() -> None:
    load, payer = await after(Receiver(reply(b'{"error": "no", "code": "not_open"}')), payments=0)
    assert payer.channels[0].is_stuck
    assert [text.rpartition(" ")[2] for text in load.tally.refusals] == ["not_open"]


@pytest.mark.parametrize("mix", [Mix(resent=0.5, twins=0), Mix(resent=0, twins=1)], ids=["resent", "twins"])
async def test_copies_get_the_first_receipt_and_are_no_payments(mix: Mix) -> None:
    receiver = Receiver()
    load, payer = await after(receiver, mix=mix, payments=20)
    tally = load.tally
    assert tally.payments == len(payer.channels[0].packages) == len(set(receiver.bodies))
    assert tally.raw == tally.payments + tally.resent
    assert tally.resent > 0
    assert tally.contradictions == []


async def test_a_package_that_is_credited_twice_is_told() -> None:
    load, _ = await after(Forgetful(), mix=Mix(resent=0, twins=1))
    assert any("credited as new 2 times" in text for text in load.tally.contradictions)
    assert any("two receipts" in text for text in load.tally.contradictions)
