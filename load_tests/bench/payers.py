"""Payers with keys of their own, and the packages they sign: as real as on a ledger, only made offline."""

from __future__ import annotations

import hashlib
import itertools
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.agent.packages import PaymentSigner
from shared.channels.model import Channel, Status
from shared.channels.paying import PaymentOrder
from shared.obyte.agents import channel_address
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from sluice.payer.signing import OfflineChannel, pay_request

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

RECEIVER = KeyPair(hashlib.sha256(b"bench receiver").digest())
TIMEOUT_S = 1_000
DEPOSIT = 10**15
PREPARED_AHEAD_S = 3_600
_SIGNATURE = b'"r":"'


class BenchPayer:
    """One payer with one open channel of his own, in a period of it."""

    def __init__(self, number: int, *, period: int = 1) -> None:
        self.key = KeyPair(hashlib.sha256(b"bench payer %d" % number).digest())
        self.salt = f"bench{number}"
        self.aa_address = channel_address(RECEIVER.address, self.key.address, "base", TIMEOUT_S, self.salt)
        opened = Channel(
            aa_address=self.aa_address,
            own_address=self.key.address,
            peer_address=RECEIVER.address,
            asset="base",
            timeout_s=TIMEOUT_S,
            status=Status.OPEN,
            period=period,
            deposited_by_me=DEPOSIT,
        )
        self._signer = PaymentSigner(self.key, DEVNET)
        self._channel = OfflineChannel(opened, self._signer)

    def next_body(self) -> bytes:
        """Sign the next payment of one unit and return the HTTP body that carries it."""
        return _body(self._channel.sign(1).package)

    def overdrawn_body(self) -> bytes:
        """Return the body of a payment of more than the package adds: refused, however often it comes."""
        channel = self._channel.channel
        order = PaymentOrder(replace(channel), channel.period, DEPOSIT // 2, channel.spent_by_me + 1)
        return _body(self._signer.sign(order).package)


def badly_signed(body: bytes) -> bytes:
    """Return a body with another signature, as well-formed as the right one."""
    place = body.index(_SIGNATURE) + len(_SIGNATURE)
    other = b"A" if body[place : place + 1] != b"A" else b"B"
    return body[:place] + other + body[place + 1 :]


def bodies(payers: Sequence[BenchPayer], count: int) -> Iterator[bytes]:
    """Return `count` payments, going round the payers."""
    return (payer.next_body() for payer in itertools.islice(itertools.cycle(payers), count))


def random_bodies(payers: Sequence[BenchPayer], count: int, chance: random.Random) -> Iterator[bytes]:
    """Return `count` payments, each of one of the payers."""
    return (payer.next_body() for payer in chance.choices(payers, k=count))


def _body(package: str) -> bytes:
    # Bodies are made ahead and may wait longer than the front lets a request grow old.
    return pay_request(package, None, tag="bench", timestamp_ms=int((time.time() + PREPARED_AHEAD_S) * 1000))
