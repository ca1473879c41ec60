"""What a plugin and its peer owe each other, counted from the packets and the money that pass.

The rules are those of `balances`; here is only what a packet and its answer mean to them. The count lives as long as
the plugin: a host that needs it to survive keeps it itself, as connectors do, and gives no terms here.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from shared.interledger.balances import Balance, BalanceError, BalanceTerms
from shared.interledger.errors import DecodingError
from shared.interledger.packets import Fulfill, Prepare, Reject, condition_of, decode_packet, encode_packet
from shared.interledger.plugin.errors import InvalidFieldsError
from shared.interledger.rejections import AmountLimit, IlpError, amount_too_large, over_the_balance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_NAMES: Final = {
    "maximum": "maximum",
    "minimum": "minimum",
    "settleThreshold": "settle_below",
    "settleTo": "settle_to",
    "maxPacketAmount": "max_packet_amount",
}
"""The names of ilp-connector to ours."""


def read_terms(given: Any) -> BalanceTerms:
    """Read the option `balance`: integers, or their digits as text, by the names above. Raises InvalidFieldsError."""
    if not isinstance(given, Mapping) or not set(given) <= set(_NAMES):
        raise InvalidFieldsError(f"balance should be a mapping with {', '.join(_NAMES)} and nothing else")
    try:
        terms = {_NAMES[name]: int(value) for name, value in given.items() if not isinstance(value, bool | float)}
        if len(terms) < len(given):
            raise InvalidFieldsError("balance should have integers only")
        return BalanceTerms(**terms)
    except (TypeError, ValueError):
        raise InvalidFieldsError("balance should have integers only") from None
    except BalanceError as error:
        raise InvalidFieldsError(f"balance: {error}") from None


class Accounting:
    """The balance of one plugin; without terms everything passes and nothing is ever to settle."""

    def __init__(self, terms: BalanceTerms | None) -> None:
        self.balance = None if terms is None else Balance(terms)

    @property
    def to_settle(self) -> int:
        """How much to pay now; 0 for nothing."""
        return 0 if self.balance is None else self.balance.to_settle

    async def incoming(self, data: bytes, answer: Callable[[bytes], Awaitable[bytes]]) -> bytes:
        """Have a packet of the peer answered if the balance allows it; else refuse it (ACC-5)."""
        prepare = _read(data)
        if self.balance is None or not isinstance(prepare, Prepare):
            return await answer(data)
        try:
            self.balance = self.balance.prepared(prepare.amount)
        except BalanceError as error:
            return encode_packet(_refusal(error, prepare, self.balance.terms))
        is_fulfilled = False
        try:
            reply = await answer(data)
            is_fulfilled = _fulfills(reply, prepare)
        finally:
            if not is_fulfilled:
                self.balance = self.balance.released(prepare.amount)
        return reply

    async def outgoing(self, data: bytes, send: Callable[[bytes], Awaitable[bytes]]) -> bytes:
        """Send a packet if the balance allows it, and count it if it was fulfilled."""
        prepare = _read(data)
        if self.balance is None or not isinstance(prepare, Prepare):
            return await send(data)
        try:
            self.balance.check_sending(prepare.amount)
        except BalanceError as error:
            return encode_packet(Reject(IlpError.INSUFFICIENT_LIQUIDITY, "", str(error)))
        reply = await send(data)
        if _fulfills(reply, prepare):
            self.balance = self.balance.sent(prepare.amount)
        return reply

    def received(self, amount: int) -> None:
        """Count what a claim has added."""
        if self.balance is not None:
            self.balance = self.balance.received(amount)

    def settling(self, amount: int) -> None:
        """Count money before it is sent."""
        if self.balance is not None:
            self.balance = self.balance.settling(amount)

    def not_settled(self, amount: int) -> None:
        """Take it back: it is known not to have been sent."""
        if self.balance is not None:
            self.balance = self.balance.not_settled(amount)


def says_unpaid(reply: bytes) -> bool:
    """Whether an answer is the T04 of a peer that has not seen our newest claim (CLM-8)."""
    packet = _read(reply)
    return isinstance(packet, Reject) and packet.code == IlpError.INSUFFICIENT_LIQUIDITY


def _read(data: bytes) -> Prepare | Fulfill | Reject | None:
    try:
        return decode_packet(data)
    except DecodingError:
        return None


def _fulfills(reply: bytes, prepare: Prepare) -> bool:
    packet = _read(reply)
    return isinstance(packet, Fulfill) and hmac.compare_digest(condition_of(packet.fulfillment), prepare.condition)


def _refusal(error: BalanceError, prepare: Prepare, terms: BalanceTerms) -> Reject:
    if error.code == "over_packet_maximum":
        return amount_too_large(AmountLimit(prepare.amount, terms.max_packet_amount or 0), "")
    return over_the_balance("")
