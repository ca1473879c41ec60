"""Payment over HTTP, as both ends write it: terms in a 402, a package in a header, a receipt in a header.

    402, application/problem+json: {…, "code": "payment_required", "accepts": [TERMS]}
    Sluice-Payment: the signed package, JSON in UTF-8, in base64url without padding
    Sluice-Receipt: JSON in ASCII

Decision record 21 says why. What comes from the other end is bounded and checked here.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shared.channels.model import MIN_BASE_DEPOSIT, is_amount
from shared.obyte.chash import is_valid_address
from shared.strict_json import StrictJsonError, decode

if TYPE_CHECKING:
    from shared.strict_json import JsonValue

SCHEME = "obyte-channel"
PAYMENT_HEADER = "Sluice-Payment"
RECEIPT_HEADER = "Sluice-Receipt"
PROBLEM_TYPE = "application/problem+json"
MAX_HEADER = 3_072
"""Characters of a payment header; the longest package there can be has some 1 900."""
MAX_PROBLEM_BYTES = 65_536
MAX_TERMS = 16
_MAX_TEXT = 200
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


class HeaderError(ValueError):
    """A header is not what it should be; the text names the rule and holds nothing of the header."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one answer costs and how to pay for it.

    `amount` in the smallest unit of `asset`. `receiver`: the payment address that is the A of the channels. `url`: base
    URL of the receiver's peer protocol, `POST <url>post` opens channels. `agent_versions`: of the channels agent, the
    preferred one first. Timeouts of channels in seconds.
    """

    network: str
    asset: str
    amount: int
    receiver: str
    url: str
    agent_versions: tuple[str, ...]
    min_timeout_s: int
    max_timeout_s: int

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of the wire."""
        return {
            "scheme": SCHEME,
            "network": self.network,
            "asset": self.asset,
            "amount": self.amount,
            "receiver": self.receiver,
            "post_url": f"{self.url}post",
            "agent_versions": list(self.agent_versions),
            "min_timeout_s": self.min_timeout_s,
            "max_timeout_s": self.max_timeout_s,
            "min_deposit": MIN_BASE_DEPOSIT if self.asset == "base" else 1,
            "header": PAYMENT_HEADER,
            "encoding": "base64url-json",
        }


@dataclass(frozen=True, slots=True)
class PaidReceipt:
    """The receiver's word that a package was credited. `duplicate`: it had been before."""

    payment_id: int
    aa_address: str
    asset: str
    period: int
    amount: int
    amount_spent: int
    duplicate: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of the wire."""
        return {
            "payment_id": self.payment_id,
            "aa_address": self.aa_address,
            "asset": self.asset,
            "period": self.period,
            "amount": self.amount,
            "amount_spent": self.amount_spent,
            "duplicate": self.duplicate,
        }

    @classmethod
    def of(cls, members: object) -> PaidReceipt:
        """Read a receipt's JSON object; other members are ignored. Raises ValueError."""
        match members:
            case {
                "payment_id": int(payment_id),
                "aa_address": str(aa_address),
                "asset": str(asset),
                "period": int(period),
                "amount": int(amount),
                "amount_spent": int(amount_spent),
                "duplicate": bool(duplicate),
            }:
                return cls(payment_id, aa_address, asset, period, amount, amount_spent, duplicate)
        raise ValueError("this is no receipt")


def encode_package(package: str) -> str:
    """Return the value of the payment header for a package's JSON text."""
    return base64.urlsafe_b64encode(package.encode()).rstrip(b"=").decode("ascii")


def decode_package(value: str) -> dict[str, JsonValue]:
    """Read the payment header's value. Raises HeaderError; whether the package is a valid one is not looked at."""
    if len(value) > MAX_HEADER:
        raise HeaderError(f"{PAYMENT_HEADER} is longer than {MAX_HEADER} characters")
    if not _BASE64URL.fullmatch(value):
        raise HeaderError(f"{PAYMENT_HEADER} should be base64url without padding")
    try:
        package = decode(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    except (binascii.Error, StrictJsonError):
        raise HeaderError(f"{PAYMENT_HEADER} should be JSON in base64url") from None
    if not isinstance(package, dict):
        raise HeaderError(f"{PAYMENT_HEADER} should hold a signed package")
    return package


def encode_receipt(receipt: PaidReceipt) -> str:
    """Return the value of the receipt header."""
    return json.dumps(receipt.as_json(), separators=(",", ":"))


def decode_receipt(value: str) -> PaidReceipt | None:
    """Read the receipt header's value; None if it is none."""
    try:
        return PaidReceipt.of(decode(value.encode()))
    except ValueError:
        return None


def read_terms(problem: JsonValue) -> tuple[Terms, ...]:
    """Return the terms in a 402's problem document that are of our scheme and make sense, in their order."""
    offers = problem.get("accepts") if isinstance(problem, dict) else None
    if not isinstance(offers, list):
        return ()
    return tuple(terms for offer in offers[:MAX_TERMS] if (terms := _terms(offer)) is not None)


def _terms(offer: JsonValue) -> Terms | None:
    match offer:
        case {
            "scheme": "obyte-channel",
            "network": str(network),
            "asset": str(asset),
            "amount": int(amount),
            "receiver": str(receiver),
            "post_url": str(post_url),
            "agent_versions": list(versions),
            "min_timeout_s": int(least),
            "max_timeout_s": int(most),
        } if is_amount(amount) and is_valid_address(receiver) and 0 < least <= most and _is_post_url(post_url):
            known = tuple(version for version in versions[:MAX_TERMS] if isinstance(version, str))
            if max(map(len, (network, asset, *known))) > _MAX_TEXT:
                return None
            return Terms(network, asset, amount, receiver, post_url.removesuffix("post"), known, least, most)
    return None


def _is_post_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.path.endswith("/post")
    except ValueError:
        return False
