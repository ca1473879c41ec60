"""Why an order failed, in the words of the reference library where scripts may look for them.

The reference has one text for each reason and no code. Ours are close to its texts; the stable code goes with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from front.rpc.errors import RpcError, failed

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_ANSWER = "no response from peer"

_TEXTS = {
    "uncertain": NO_ANSWER,
    "peer_timeout": NO_ANSWER,
    "peer_unreachable": NO_ANSWER,
    "peer_unavailable": NO_ANSWER,
    "bad_answer": "bad response from peer",
    "salt_in_use": "this salt already exists",
    "channel_exists": "this salt already exists",
    "insufficient_funds": "AA not funded enough",
    "not_payable": "closing in progress",
    "not_closable": "Cannot close channel while it is not confirmed open",
    "not_depositable": "no deposit possible",
    "not_paired": "couldn't pair with device",
    "invalid_url": "no peer address nor way to contact peer",
    "invalid_contact": "no peer address nor way to contact peer",
}
"""What the reference says; what the code alone does not tell is added."""
_SAID_IN_FULL = frozenset({"not_depositable", "not_payable"})

_NOT_PUBLISHED = "aa address definition not confirmed, no deposit possible"
_BY_DETAIL = {
    "this period was closed by me already": "Period already closed by me",
    "the channel's agent is not confirmed on the ledger yet": _NOT_PUBLISHED,
    "address_a must be a valid address and not our own": "address a is incorrect",
    "aa_address is not that of the channel asked for": "peer calculated different aa address",
}
_UNIT_FAILED = {
    "open": "error when creating channel",
    "deposit": "error when deposit to channel",
    "close": "error when closing channel",
    "sweep": "error when closing channel",
}
_OF_UNITS = frozenset(
    {
        "not_enough_funds",
        "reserve_needed",
        "fee_too_high",
        "bounced",
        "in_doubt",
        "overtaken",
        "recompose",
        "unit_unchanged",
        "bad_parents",
        "bad_output",
        "too_many_messages",
        "too_many_outputs",
        "payee_is_agent",
        "not_closed",
    }
)

UNKNOWN_CHANNEL = {
    "deposit": "unknown channel",
    "pay": "AA address not found",
    "sign": "AA address not found",
    "sweep": "unknown AA address",
    "close": "aa_address not known",
    "auto_refill": "aa_address not known",
}
"""What the reference says of a channel that it does not have, by kind of order."""


def failure(kind: str, error: Mapping[str, str], result: Mapping[str, Any] | None, command_id: int) -> RpcError:
    """Return the error for a command that has failed."""
    code, detail = error["code"], error["detail"]
    return failed(_text(kind, code, detail, result or {}), code, detail=detail, command_id=command_id)


def _text(kind: str, code: str, detail: str, result: Mapping[str, Any]) -> str:
    if detail in _BY_DETAIL:
        return _BY_DETAIL[detail]
    if code in _TEXTS:
        return f"{_TEXTS[code]}: {detail}" if code in _SAID_IN_FULL else _TEXTS[code]
    if code == "peer_refused":
        said = result.get("error")
        return said if isinstance(said, str) and said else detail.removeprefix("the peer refuses the channel: ")
    if code == "peer_not_ready":
        return f"Peer is not ready: {detail.removeprefix('the peer takes no payments yet: ')}"
    return f"{_UNIT_FAILED[kind]} {detail}" if code in _OF_UNITS and kind in _UNIT_FAILED else detail


REFUSALS = {
    "channel_closing": "closing initiated",
    "wrong_period": "wrong period",
    "period_closed_by_me": "period closed by me",
    "unconfirmed_closing": "channel in unconfirmed closing state",
    "definition_not_published": "AA definition was not published",
    "bad_sequence": "bad sequence unit from peer",
    "unknown_channel": "unknown channel",
    "not_funded": "AA not funded enough.",
    "over_credit": "Payment amount is over your available credit.",
    "invalid_aa_address": "aa address is not valid",
    "wrong_channel_parameters": "channel_parameters doesn't correspond to aa_address",
    "salt_exists": "this salt already exists",
}
"""What the reference says of a package that it does not take, by our code."""
