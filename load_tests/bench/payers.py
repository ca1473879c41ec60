"""Payers with keys of their own, and the packages they sign: as real as on a ledger, only made offline."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.obyte.agents import channel_address
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from shared.obyte.signed_messages import sign_message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.obyte.serialization import JsonValue

RECEIVER = KeyPair(hashlib.sha256(b"bench receiver").digest())
TIMEOUT_S = 1_000
DEPOSIT = 10**15


@dataclass(slots=True)
class BenchPayer:
    """One payer with one open channel; `spent` is what he has signed so far."""

    number: int
    key: KeyPair = field(init=False, repr=False)
    aa_address: str = field(init=False)
    spent: int = 0

    def __post_init__(self) -> None:
        self.key = KeyPair(hashlib.sha256(b"bench payer %d" % self.number).digest())
        self.aa_address = channel_address(RECEIVER.address, self.key.address, "base", TIMEOUT_S, self.salt)

    @property
    def salt(self) -> str:
        """What tells the payer's channel from others."""
        return f"bench{self.number}"

    def next_body(self) -> bytes:
        """Sign the next payment of one unit and return the HTTP body that carries it."""
        self.spent += 1
        terms: JsonValue = {"payment_amount": 1, "amount_spent": self.spent, "period": 1, "aa_address": self.aa_address}
        package = sign_message(terms, self.key, DEVNET)
        return json.dumps({"command": "pay", "params": {"signed_package": package}}, separators=(",", ":")).encode()


def bodies(payers: Sequence[BenchPayer], count: int) -> Iterator[bytes]:
    """Return `count` payments, going round the payers."""
    return (payer.next_body() for payer in itertools.islice(itertools.cycle(payers), count))
