"""What nothing built from the same parts can beat, measured in this process: the signature check, a package's hash."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from coincurve import PublicKey

from load_tests.bench.payers import BenchPayer
from shared.obyte.networks import DEVNET
from shared.obyte.signed_messages import hash_to_sign
from shared.receiving.verification import verify_payment_package
from shared.strict_json import decode

if TYPE_CHECKING:
    from collections.abc import Callable

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False, sort_keys=True)


class FloorError(Exception):
    """A floor does not compute what it stands for."""


class Floors:
    """The calls that are timed. CPU µs of each, of this thread alone."""

    def __init__(self) -> None:
        payer = BenchPayer(0)
        self._body = payer.next_body()
        self._digest = hashlib.sha256(b"bench").digest()
        self._signature = payer.key._parsed.sign(self._digest, hasher=None)  # noqa: SLF001 - the library itself
        self._key = PublicKey(payer.key._parsed.public_key.format())  # noqa: SLF001
        package: Any = _package(self._body)
        author = package["authors"][0]
        signer = {"address": author["address"], "definition": author["definition"]}
        self._unsigned = {**package, "authors": [signer]}
        if self._hash() != hash_to_sign(package, DEVNET):
            raise FloorError("the hash of a package is not what is signed")
        if not self._verify():
            raise FloorError("the signature does not hold")

    def measure(self, calls: int) -> dict[str, float]:
        """Time each once, over so many calls."""
        return {
            "verify_us": _each_us(self._verify, calls),
            "hash_us": _each_us(self._hash, calls),
            "verification_us": _each_us(self._whole, calls),
        }

    def _verify(self) -> bool:
        """One libsecp256k1 verification with a parsed key."""
        return self._key.verify(self._signature, self._digest, hasher=None)

    def _hash(self) -> bytes:
        """From a decoded package to the digest that was signed, by the standard library."""
        return hashlib.sha256(_ENCODER.encode(self._unsigned).encode()).digest()

    def _whole(self) -> None:
        """From the bytes of a request to a verified package, as the product does it."""
        verify_payment_package(_package(self._body), DEVNET)


def _package(body: bytes) -> Any:
    request: Any = decode(body)
    return request["params"]["signed_package"]


def _each_us(call: Callable[[], object], calls: int) -> float:
    began = time.thread_time_ns()
    for _ in range(calls):
        call()
    return (time.thread_time_ns() - began) / calls / 1_000
