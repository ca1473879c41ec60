"""Payers with keys of their own, and the packages they sign: as real as on a ledger, only made offline."""

from __future__ import annotations

import hashlib
import itertools
import time
from typing import TYPE_CHECKING

from shared.agent.packages import PaymentSigner
from shared.channels.model import Channel, Status
from shared.obyte.agents import channel_address
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from sluice.payer.signing import OfflineChannel, pay_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RECEIVER = KeyPair(hashlib.sha256(b"bench receiver").digest())
TIMEOUT_S = 1_000
DEPOSIT = 10**15
PREPARED_AHEAD_S = 3_600


class BenchPayer:
    """One payer with one open channel of his own."""

    def __init__(self, number: int) -> None:
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
            period=1,
            deposited_by_me=DEPOSIT,
        )
        self._channel = OfflineChannel(opened, PaymentSigner(self.key, DEVNET))

    def next_body(self) -> bytes:
        """Sign the next payment of one unit and return the HTTP body that carries it."""
        # Bodies are made ahead and may wait longer than the front lets a request grow old.
        sent_at_ms = int((time.time() + PREPARED_AHEAD_S) * 1000)
        return pay_request(self._channel.sign(1).package, None, tag="bench", timestamp_ms=sent_at_ms)


def bodies(payers: Sequence[BenchPayer], count: int) -> Iterator[bytes]:
    """Return `count` payments, going round the payers."""
    return (payer.next_body() for payer in itertools.islice(itertools.cycle(payers), count))
