"""What nothing built from the same parts can beat: the signature check, the whole verification, a bare route."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from coincurve import PublicKey

from load_tests.bench.payers import BenchPayer
from shared.obyte.networks import DEVNET
from shared.obyte.signed_messages import hash_to_sign
from shared.receiving.verification import verify_payment_package
from shared.strict_json import decode

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUNDS = 5


def signature_check_us(calls: int) -> float:
    """CPU µs of one libsecp256k1 verification with a parsed key."""
    payer = BenchPayer(0)
    digest = b"\x07" * 32
    signature = payer.key._parsed.sign(digest, hasher=None)  # noqa: SLF001 - the floor is the library itself
    key = PublicKey(payer.key._parsed.public_key.format())  # noqa: SLF001
    return _median_us(lambda: key.verify(signature, digest, hasher=None), calls)


def verification_us(calls: int) -> float:
    """CPU µs from the bytes of a request to a verified package."""
    body = BenchPayer(0).next_body()

    def once() -> None:
        request = decode(body)
        assert isinstance(request, dict)  # noqa: S101 - narrows the type
        verify_payment_package(request["params"]["signed_package"], DEVNET)  # type: ignore[index, call-overload]

    return _median_us(once, calls)


def hash_us(calls: int) -> float:
    """CPU µs of the digest of one package by the general serializer."""
    request = decode(BenchPayer(0).next_body())
    assert isinstance(request, dict)  # noqa: S101
    package = request["params"]["signed_package"]  # type: ignore[index, call-overload]
    return _median_us(lambda: hash_to_sign(package, DEVNET), calls)


def _median_us(call: Callable[[], object], calls: int) -> float:
    figures = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        for _ in range(calls):
            call()
        figures.append((time.process_time() - began) / calls * 1e6)
    return statistics.median(figures)
