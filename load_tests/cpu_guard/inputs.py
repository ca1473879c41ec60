"""The packages that are counted: always the same bytes, because keys are fixed and signing is deterministic."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from load_tests.cpu_guard.work import ROUND, SENT_AT_S
from shared.agent.packages import PaymentSigner
from shared.channels.model import Channel, Status
from shared.obyte.agents import channel_address
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from sluice.payer.signing import OfflineChannel, pay_request

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 4
PACKAGES = ROUND * ROUNDS
_DEPOSIT = 10**12
_TIMEOUT_S = 1_000
_RECEIVER = KeyPair(hashlib.sha256(b"cpu guard receiver").digest())


def write(file: Path) -> None:
    """Write the packages and the channels they are for."""
    payers = [_Payer(number) for number in range(ROUND)]  # one package of each in a batch
    bodies = [payer.body(1_000 + turn) for turn in range(ROUNDS) for payer in payers]
    file.write_text(json.dumps({"channels": [payer.as_seen() for payer in payers], "bodies": bodies}))


class _Payer:
    def __init__(self, number: int) -> None:
        self._key = KeyPair(hashlib.sha256(b"cpu guard payer %d" % number).digest())
        self._salt = f"guard{number}"
        self._address = channel_address(_RECEIVER.address, self._key.address, "base", _TIMEOUT_S, self._salt)
        opened = Channel(
            aa_address=self._address,
            own_address=self._key.address,
            peer_address=_RECEIVER.address,
            asset="base",
            timeout_s=_TIMEOUT_S,
            status=Status.OPEN,
            period=1,
            deposited_by_me=_DEPOSIT,
        )
        self._channel = OfflineChannel(opened, PaymentSigner(self._key, DEVNET))

    def body(self, amount: int) -> str:
        """Return the next request."""
        package = self._channel.sign(amount).package
        return pay_request(package, None, tag="cpu guard", timestamp_ms=SENT_AT_S * 1_000).decode()

    def as_seen(self) -> dict[str, str | int]:
        """Return what the receiver knows of the channel."""
        return {
            "aa_address": self._address,
            "own_address": _RECEIVER.address,
            "peer_address": self._key.address,
            "deposited_by_peer": _DEPOSIT,
        }
