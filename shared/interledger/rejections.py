"""Every ILP error code (RFC-0027), and the refusals of one who receives money.

The letter says what a sender does: F gives up, T tries again later, R tries again with more amount or more time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from shared.interledger import oer
from shared.interledger.packets import Prepare, Reject

if TYPE_CHECKING:
    from datetime import datetime

OVER_THE_BALANCE = "exceeded maximum balance."
"""Word for word: ilp-connector alerts its operator on this text, and payers send their newest claim again."""

DEFAULT_MARGIN = timedelta(seconds=1)
MAX_HOLD = timedelta(seconds=60)


class IlpError(StrEnum):
    """The codes. Packets carry any three characters; these have a meaning."""

    BAD_REQUEST = "F00"
    INVALID_PACKET = "F01"
    UNREACHABLE = "F02"
    INVALID_AMOUNT = "F03"
    INSUFFICIENT_DESTINATION_AMOUNT = "F04"
    WRONG_CONDITION = "F05"
    UNEXPECTED_PAYMENT = "F06"
    CANNOT_RECEIVE = "F07"
    AMOUNT_TOO_LARGE = "F08"
    APPLICATION_ERROR = "F99"
    INTERNAL_ERROR = "T00"
    PEER_UNREACHABLE = "T01"
    PEER_BUSY = "T02"
    CONNECTOR_BUSY = "T03"
    INSUFFICIENT_LIQUIDITY = "T04"
    RATE_LIMITED = "T05"
    TEMPORARY_APPLICATION_ERROR = "T99"
    TRANSFER_TIMED_OUT = "R00"
    INSUFFICIENT_SOURCE_AMOUNT = "R01"
    INSUFFICIENT_TIMEOUT = "R02"
    RELATIVE_APPLICATION_ERROR = "R99"


def is_final(code: str) -> bool:
    """Whether the same packet may not be sent again, whenever that is."""
    return code.startswith("F")


@dataclass(frozen=True, slots=True)
class AmountLimit:
    """What an F08 tells so that a sender can make smaller packets: what arrived, and the most that may."""

    received: int
    maximum: int


def amount_too_large(limit: AmountLimit, ours: str) -> Reject:
    """Return the F08 of one who takes at most `limit.maximum` in a packet. Raises EncodingError."""
    data = oer.uint64(limit.received, "received") + oer.uint64(limit.maximum, "maximum")
    return Reject(IlpError.AMOUNT_TOO_LARGE, ours, f"packet is over the maximum of {limit.maximum}", data)


def read_amount_limit(reject: Reject) -> AmountLimit | None:
    """Return the two numbers of an F08; None if it carries none (some connectors send none)."""
    reader = oer.Reader(reject.data)
    if reject.code != IlpError.AMOUNT_TOO_LARGE or reader.left < 16:  # noqa: PLR2004 - two UInt64
        return None
    return AmountLimit(reader.uint64("received"), reader.uint64("maximum"))


def over_the_balance(ours: str) -> Reject:
    """Return the T04 for a peer that has not paid enough for what it sends."""
    return Reject(IlpError.INSUFFICIENT_LIQUIDITY, ours, OVER_THE_BALANCE)


def judge_expiry(prepare: Prepare, now: datetime, ours: str, margin: timedelta = DEFAULT_MARGIN) -> Reject | None:
    """Return the refusal of a packet that is over, or ends before we could have answered it; else None (ILP-2)."""
    left = prepare.expires_at - now
    if left <= timedelta(0):
        return Reject(IlpError.TRANSFER_TIMED_OUT, ours, "packet has expired")
    if left <= margin:
        return Reject(IlpError.INSUFFICIENT_TIMEOUT, ours, "packet expires too soon to be answered")
    return None


def hold_until(prepare: Prepare, now: datetime, longest: timedelta = MAX_HOLD) -> datetime:
    """Return until when to wait for an answer: a far expiry is no reason to refuse, nor to wait so long (ILP-2)."""
    return min(prepare.expires_at, now + longest)
