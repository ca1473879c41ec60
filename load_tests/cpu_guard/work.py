"""The program whose instructions are counted: `python -m load_tests.cpu_guard.work FILE SECTION …`.

FILE holds the packages, signed before: only what a front does is counted here. Each section works on all of them.
Between two sections `os.getloadavg` is called, which nobody else does: at each entry of that function of the C library
valgrind writes down what was counted since the last one.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coincurve import PrivateKey, PublicKey

from shared.channels.exposure import ExposureRules
from shared.channels.model import MAX_AMOUNT, Channel, ExposureLimits, Status
from shared.obyte.networks import DEVNET
from shared.obyte.signatures import verify
from shared.receiving.judging import ChannelAtHand, Credited, Judge
from shared.receiving.plain_payments import read_plain_payment
from shared.receiving.verification import prove

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.receiving.plain_payments import PlainPayment
    from shared.receiving.verification import SignedPayment

ROUND = 32
"""Packages of a batch."""
SENT_AT_S = 1_800_000_000
_AMPLE = ExposureLimits(MAX_AMOUNT, MAX_AMOUNT, MAX_AMOUNT, MAX_AMOUNT)


class Work:
    """All packages, and the channels in memory that they are for."""

    def __init__(self, bodies: Sequence[bytes], channels: Mapping[str, Channel]) -> None:
        self._bodies = bodies
        self._rounds = [bodies[begin : begin + ROUND] for begin in range(0, len(bodies), ROUND)]
        self._locked: list[dict[str, ChannelAtHand]] = []
        """The channels as they are read before each round: making them of rows is no part of this."""
        for round_ in self._rounds:
            self._locked.append(_at_hand(channels))
            after = _judged(self._locked[-1], [_verified(body) for body in round_])
            # The claim stays in the database.
            channels = {address: replace(channel, claim=None) for address, channel in after.items()}

    def package(self) -> None:
        """The whole of what is guarded: bytes → terms → verified package → judgement."""
        for bodies, channels in zip(self._rounds, self._locked, strict=True):
            _judged(channels, [_verified(body) for body in bodies])

    def reading(self) -> None:
        """The bytes of a request, up to well-formed terms."""
        for body in self._bodies:
            _read_plain(body)

    def verification(self) -> None:
        """The same, and who has signed: address, hash, signature, the text to keep."""
        for body in self._bodies:
            _verified(body)

    def signature(self) -> None:
        """One signature for each package, as the protocol writes it, with a key that was parsed before."""
        key = PrivateKey(hashlib.sha256(b"one signature").digest())
        digest = hashlib.sha256(b"what was signed").digest()
        signature = base64.b64encode(key.sign_recoverable(digest, hasher=None)[:64]).decode()
        pubkey = base64.b64encode(key.public_key.format()).decode()
        for _ in self._bodies:
            if not verify(digest, signature, pubkey):
                raise AssertionError("a good signature was refused")

    def library(self) -> None:
        """One signature for each package, by libsecp256k1 alone."""
        key, digest, signature = _signed()
        for _ in self._bodies:
            key.verify(signature, digest, hasher=None)

    def reference(self) -> None:
        """What no change of this project can make cheaper or dearer, of the kinds of work that a package takes."""
        key, digest, signature = _signed()
        note = _Note("", "", 0, 0)
        encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, sort_keys=True)
        for body in self._bodies:
            members = json.loads(body, object_pairs_hook=dict)
            package: dict[str, Any] = members["params"]["signed_package"]
            unsigned = {name: value for name, value in package.items() if name != "authors"}
            text = encoder.encode(unsigned)
            for name in sorted(package["signed_message"]):
                if not isinstance(name, str) or not text.isascii():
                    raise AssertionError("the reference does not read what it should")
            note = replace(note, text=text, digest=hashlib.sha256(text.encode()).hexdigest(), count=note.count + 1)
            key.verify(signature, digest, hasher=None)


@dataclass(frozen=True, slots=True)
class _Note:
    text: str
    digest: str
    count: int
    sum: int


def _read_plain(body: bytes) -> PlainPayment:
    plain = read_plain_payment(body, DEVNET)
    if plain is None:
        raise AssertionError("what is counted is the way that nearly all payments take")
    return plain


def _verified(body: bytes) -> SignedPayment:
    """Do what `peer_protocol.serve_body` and `Receiver.pay_plain` do before a payment waits for its batch."""
    plain = _read_plain(body)
    return prove(plain.terms, plain.pubkey, plain.signature, DEVNET)


def _at_hand(channels: Mapping[str, Channel]) -> dict[str, ChannelAtHand]:
    return {address: ChannelAtHand(channel, created_by_me=False) for address, channel in channels.items()}


def _judged(channels: Mapping[str, ChannelAtHand], payments: Sequence[SignedPayment]) -> dict[str, Channel]:
    """Judge one batch and return the channels after it."""
    judge = Judge(
        channels,
        accepted_before=(),
        limits={},
        exposure=ExposureRules({"base": _AMPLE}),
        used_of_asset={},
        now_s=SENT_AT_S,
        watcher_silent=False,
    )
    for payment in payments:
        outcome = judge.judge(payment, None)
        if not isinstance(outcome, Credited) or outcome.duplicate:
            raise AssertionError(f"what is counted is a credited payment, and this is none: {outcome}")
    judge.ripened()
    return judge.channels


def _signed() -> tuple[PublicKey, bytes, bytes]:
    key = PrivateKey(hashlib.sha256(b"one signature").digest())
    digest = hashlib.sha256(b"what was signed").digest()
    return PublicKey(key.public_key.format()), digest, key.sign(digest, hasher=None)


def _read(file: Path) -> Work:
    given = json.loads(file.read_text())
    channels = {
        channel["aa_address"]: Channel(**channel, asset="base", timeout_s=1_000, status=Status.OPEN, period=1)
        for channel in given["channels"]
    }
    return Work([body.encode() for body in given["bodies"]], channels)


def _main(file: str, *sections: str) -> None:
    work = _read(Path(file))
    chosen: list[Callable[[], None]] = [getattr(work, section) for section in sections]
    for section in chosen:
        section()  # caches are filled and the interpreter has specialised what it runs often
    gc.collect()
    gc.disable()  # a collection falls where it falls
    for section in chosen:
        os.getloadavg()
        section()
    os.getloadavg()


if __name__ == "__main__":
    _main(*sys.argv[1:])
