"""Claims of Obyte channels over BTP: who sends what in which entry. Shapes only; whether a claim is money is not asked.

    frame, from       entries                                       answer
    ----------------  --------------------------------------------  -----------------------------------------------
    TRANSFER, payer   `claim` JSON: the whole signed package        RESPONSE without entries, or ERROR
    MESSAGE, payer    `channel` text: the channel's address         `channel` JSON: {aa_address, known: false}, or
                                                                    {aa_address, known: true, status, period,
                                                                    deposited, spent, capacity, timeout}
    MESSAGE, payer    `last_claim` text: the channel's address      `last_claim` JSON: the package kept; else empty
    MESSAGE, payer    `info`: anything                              `info` JSON: {asset, scale, minimumTimeout,
                                                                    payee, version}

The package: {signed_message: {payment_amount, amount_spent, period, aa_address[, channel_parameters]}, authors:
[{address, …}], …}. `amount_spent` is cumulative within a period. The TRANSFER's own amount is what the payer says it
adds; only the difference of two claims is ever credited (BTP-21, CLM-2). Numbers are JSON integers below 2^53: a
fraction, an exponent, NaN or a key twice is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.interledger.btp.frames import ContentType, Entries, Entry
from shared.interledger.btp.subprotocols import CHANNEL, CLAIM, INFO, LAST_CLAIM, entry_for
from shared.interledger.errors import ClaimError
from shared.strict_json import MAX_SAFE_INTEGER, JsonValue, StrictJsonError, decode

if TYPE_CHECKING:
    from collections.abc import Mapping

READS = frozenset({CLAIM, CHANNEL, LAST_CLAIM, INFO})
"""What a connection must leave to this codec: its `reads`."""

MAX_JSON_BYTES = 8_192
MAX_DEPTH = 8

_ADDRESS = re.compile(r"[A-Z2-7]{32}")


@dataclass(frozen=True, slots=True)
class Claim:
    """A package as it came: a bearer secret, shown nowhere. `declared` is what the TRANSFER says it adds."""

    declared: int
    aa_address: str
    period: int
    amount_spent: int
    payment_amount: int
    payer: str
    announces_channel: bool
    """Whether the parameters of a channel come along, that we may not know yet."""
    package: Mapping[str, JsonValue] = field(repr=False)

    def adds(self, highest: int) -> int:
        """Return what this claim adds to the highest one before, in its period (CLM-2)."""
        return max(0, self.amount_spent - highest)


@dataclass(frozen=True, slots=True)
class ChannelState:
    """A channel that the answering side knows; amounts in the channel's smallest unit, `timeout_s` in seconds."""

    status: str
    period: int
    deposited: int
    spent: int
    capacity: int
    timeout_s: int


@dataclass(frozen=True, slots=True)
class PayeeInfo:
    """What the answering side takes: 1 is 10^-`scale` of `asset`; channels to `payee` need `minimum_timeout_s`."""

    asset: str
    scale: int
    minimum_timeout_s: int
    payee: str
    version: str


def claim_entries(package: Mapping[str, JsonValue]) -> Entries:
    """Return the entries of a TRANSFER. Raises ClaimError if it is no package, EncodingError if no JSON carries it."""
    entry = entry_for(CLAIM, dict(package))
    read_claim(1, (entry,))
    return (entry,)


def read_claim(declared: int, entries: Entries) -> Claim:
    """Read the claim of a TRANSFER of `declared`. Raises ClaimError `bad_claim` (F01)."""
    package = _object(_only(entries, CLAIM, "bad_claim"), "bad_claim")
    return _claim(declared, package)


def channel_question(aa_address: str) -> Entries:
    """Return the entries that ask for a channel."""
    return (entry_for(CHANNEL, aa_address),)


def last_claim_question(aa_address: str) -> Entries:
    """Return the entries that ask for the highest claim the other side has of us."""
    return (entry_for(LAST_CLAIM, aa_address),)


def info_question() -> Entries:
    """Return the entries that ask what the other side takes."""
    return (Entry(INFO, ContentType.OCTETS, b"\x02"),)


def read_question(name: str, entries: Entries) -> str:
    """Return which channel a `channel` or `last_claim` message asks for. Raises ClaimError `bad_message` (F01)."""
    entry = _only(entries, name, "bad_message")
    address = entry.data.decode("latin-1")
    if entry.content_type not in (ContentType.OCTETS, ContentType.TEXT) or not _ADDRESS.fullmatch(address):
        raise ClaimError("bad_message", name, "should be the address of a channel, as text")
    return address


def channel_answer(aa_address: str, state: ChannelState | None) -> Entries:
    """Return the answer to a `channel` message; None for a channel that is unknown, or another account's (CLM-5)."""
    answer: dict[str, JsonValue] = {"aa_address": aa_address, "known": state is not None}
    if state is not None:
        answer |= {
            "status": state.status,
            "period": state.period,
            "deposited": state.deposited,
            "spent": state.spent,
            "capacity": state.capacity,
            "timeout": state.timeout_s,
        }
    return (entry_for(CHANNEL, answer),)


def read_channel_answer(aa_address: str, entries: Entries) -> ChannelState | None:
    """Read the answer about that channel. Raises ClaimError `bad_message`."""
    answer = _object(_only(entries, CHANNEL, "bad_message"), "bad_message")
    if answer.get("aa_address") != aa_address or not isinstance(answer.get("known"), bool):
        raise ClaimError("bad_message", CHANNEL, "should say whether this channel is known")
    if not answer["known"]:
        return None
    numbers = [_whole(answer, name, "bad_message") for name in ("period", "deposited", "spent", "capacity", "timeout")]
    return ChannelState(_text(answer, "status"), *numbers)


def last_claim_answer(package: Mapping[str, JsonValue] | None) -> Entries:
    """Return the answer to a `last_claim` message: the package, or nothing."""
    return (Entry(LAST_CLAIM, ContentType.OCTETS, b"") if package is None else entry_for(LAST_CLAIM, dict(package)),)


def read_last_claim_answer(entries: Entries) -> Claim | None:
    """Read what the other side has of us; None for nothing. Raises ClaimError `bad_claim`."""
    if not entries or not entries[0].data:
        return None
    return _claim(0, _object(_only(entries, LAST_CLAIM, "bad_claim"), "bad_claim"))


def info_answer(info: PayeeInfo) -> Entries:
    """Return the answer to an `info` message."""
    answer: JsonValue = {
        "asset": info.asset,
        "scale": info.scale,
        "minimumTimeout": info.minimum_timeout_s,
        "payee": info.payee,
        "version": info.version,
    }
    return (entry_for(INFO, answer),)


def read_info_answer(entries: Entries) -> PayeeInfo:
    """Read what the other side takes. Raises ClaimError `bad_message`."""
    answer = _object(_only(entries, INFO, "bad_message"), "bad_message")
    return PayeeInfo(
        asset=_text(answer, "asset"),
        scale=_whole(answer, "scale", "bad_message"),
        minimum_timeout_s=_whole(answer, "minimumTimeout", "bad_message"),
        payee=_text(answer, "payee"),
        version=_text(answer, "version"),
    )


def _claim(declared: int, package: dict[str, Any]) -> Claim:
    message, authors = package.get("signed_message"), package.get("authors")
    if not isinstance(message, dict):
        raise ClaimError("bad_claim", "signed_message", "should be an object")
    author = authors[0] if isinstance(authors, list) and len(authors) == 1 else None
    payer = author.get("address") if isinstance(author, dict) else None
    for name, address in (("aa_address", message.get("aa_address")), ("authors[0].address", payer)):
        if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
            raise ClaimError("bad_claim", name, "should be an address")
    return Claim(
        declared=declared,
        aa_address=message["aa_address"],
        period=_positive(message, "period"),
        amount_spent=_positive(message, "amount_spent"),
        payment_amount=_positive(message, "payment_amount"),
        payer=str(payer),
        announces_channel="channel_parameters" in message,
        package=package,
    )


def _only(entries: Entries, name: str, code: str) -> Entry:
    found = [entry for entry in entries if entry.name == name]
    if len(found) != 1:
        # Two readers could credit two different claims.
        raise ClaimError(code, name, "should be there once")
    return found[0]


def _object(entry: Entry, code: str) -> dict[str, Any]:
    if entry.content_type != ContentType.JSON or len(entry.data) > MAX_JSON_BYTES:
        raise ClaimError(code, entry.name, f"should be JSON of at most {MAX_JSON_BYTES} bytes")
    try:
        value = decode(entry.data, max_depth=MAX_DEPTH)
    except StrictJsonError as error:
        raise ClaimError(code, entry.name, f"should be JSON that has one meaning: {error.code}") from None
    if not isinstance(value, dict):
        raise ClaimError(code, entry.name, "should be a JSON object")
    if _has_fraction(value):
        raise ClaimError(code, entry.name, "should have integers only")
    return value


def _has_fraction(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return any(_has_fraction(member) for member in value.values())
    if isinstance(value, list):
        return any(_has_fraction(element) for element in value)
    return isinstance(value, float)


def _whole(members: Mapping[str, Any], name: str, code: str, least: int = 0) -> int:
    value = members.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_SAFE_INTEGER:
        raise ClaimError(code, name, f"should be an integer from {least} to 2^53-1")
    return value


def _positive(members: Mapping[str, Any], name: str) -> int:
    return _whole(members, name, "bad_claim", least=1)


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise ClaimError("bad_message", name, "should be text")
    return value
