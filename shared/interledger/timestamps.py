"""Moments as Interledger writes them, read strictly: a date that no calendar has is refused, never rolled over.

where                 text                          read                                    written
--------------------  ----------------------------  --------------------------------------  --------------------
ILP packets           `YYYYMMDDHHMMSSmmm`           exactly this                            exactly this
errors of BTP         `YYYYMMDDHHMMSS[.m{1,3}]Z`    none to three digits of the fraction;   three digits, always
                      (RFC-0030)                    ISO 8601 too; anything else is None
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from shared.interledger.errors import DecodingError, EncodingError

ILP_TIMESTAMP_BYTES = 17
FIRST_YEAR = 100
"""JavaScript reads the years before as those from 1900 on: in two languages they are two moments."""

_NEVER = datetime.min.replace(tzinfo=UTC)

_ILP = re.compile(rb"[0-9]{17}")
_GENERALIZED = re.compile(r"([0-9]{14})(?:\.([0-9]{1,3}))?Z")
_ISO = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,3}))?Z")


def read_ilp_timestamp(octets: bytes, field: str = "expiresAt") -> datetime:
    """Read the 17 digits of an ILP packet (ILP-1). Raises DecodingError `bad_timestamp`."""
    moment = _moment(octets[:14].decode("ascii"), octets[14:].decode("ascii")) if _ILP.fullmatch(octets) else None
    if moment is None:
        raise DecodingError("bad_timestamp", field, "should be a moment in UTC, 17 digits YYYYMMDDHHMMSSmmm")
    return moment


def ilp_timestamp(moment: datetime, field: str = "expiresAt") -> bytes:
    """Write 17 digits; what is finer than a millisecond is dropped. Raises EncodingError `bad_value`."""
    moment = _in_utc(moment, field)
    return f"{_seconds(moment)}{moment.microsecond // 1000:03}".encode("ascii")


def read_btp_timestamp(octets: bytes) -> datetime | None:
    """Read when an error arose; None when nobody can tell. It is information only, so nothing fails for its sake."""
    text = octets.decode("ascii", errors="replace")
    if found := _GENERALIZED.fullmatch(text):
        return _moment(found[1], found[2] or "")
    if found := _ISO.fullmatch(text):
        return _moment("".join(found.groups()[:6]), found[7] or "")
    return None


def btp_timestamp(moment: datetime, field: str = "triggeredAt") -> bytes:
    """Write `YYYYMMDDHHMMSS.mmmZ`: without its three digits JavaScript peers read no date at all.

    Raises EncodingError `bad_value`.
    """
    moment = _in_utc(moment, field)
    return f"{_seconds(moment)}.{moment.microsecond // 1000:03}Z".encode("ascii")


def _in_utc(moment: datetime, field: str) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise EncodingError("bad_value", field, "should be an aware datetime")
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        moment = _NEVER
    if moment.year < FIRST_YEAR:
        raise EncodingError("bad_value", field, f"should lie in the years {FIRST_YEAR} to 9999 of UTC")
    return moment


def _seconds(moment: datetime) -> str:
    # Not strftime: on some platforms its %Y writes the year 999 with three digits.
    return f"{moment.year:04}{moment.month:02}{moment.day:02}{moment.hour:02}{moment.minute:02}{moment.second:02}"


def _moment(digits: str, fraction: str) -> datetime | None:
    if int(digits[:4]) < FIRST_YEAR:
        return None
    try:
        return datetime(
            int(digits[:4]),
            int(digits[4:6]),
            int(digits[6:8]),
            int(digits[8:10]),
            int(digits[10:12]),
            int(digits[12:14]),
            int(fraction.ljust(3, "0")) * 1000,
            tzinfo=UTC,
        )
    except ValueError:
        return None
