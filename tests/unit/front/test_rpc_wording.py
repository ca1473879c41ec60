"""Failures of orders in the reference's words."""

from __future__ import annotations

import pytest

from front.rpc.wording import failure


@pytest.mark.parametrize(
    ("kind", "code", "detail", "result", "text"),
    [
        ("pay", "uncertain", "nobody knows whether it arrived: …", None, "no response from peer"),
        ("open", "peer_unreachable", "the peer cannot be asked: …", None, "no response from peer"),
        ("pay", "insufficient_funds", "payment_amount 9 is over what is left", None, "AA not funded enough"),
        ("pay", "not_payable", "the channel is closing", None, "closing in progress: the channel is closing"),
        ("pay", "peer_refused", "sold out", {"error": "sold out", "code": "x"}, "sold out"),
        ("open", "peer_refused", "the peer refuses the channel: wrong timeout", None, "wrong timeout"),
        (
            "pay",
            "peer_not_ready",
            "the peer takes no payments yet: aa address not known",
            None,
            "Peer is not ready: aa address not known",
        ),
        ("sweep", "not_closable", "this period was closed by me already", None, "Period already closed by me"),
        (
            "close",
            "not_closable",
            "only an open channel can be closed, this one is closed",
            None,
            "Cannot close channel while it is not confirmed open",
        ),
        (
            "deposit",
            "not_depositable",
            "the channel's agent is not confirmed on the ledger yet",
            None,
            "aa address definition not confirmed, no deposit possible",
        ),
        (
            "deposit",
            "not_enough_funds",
            "10 bytes are missing",
            None,
            "error when deposit to channel 10 bytes are missing",
        ),
        ("open", "bounced", "the unit is void", None, "error when creating channel the unit is void"),
        ("open", "salt_in_use", "…", None, "this salt already exists"),
        (
            "open",
            "invalid_peer_answer",
            "aa_address is not that of the channel asked for",
            None,
            "peer calculated different aa address",
        ),
        ("open", "own_address", "the peer is this wallet itself", None, "the peer is this wallet itself"),
    ],
)
def test_a_failure_is_told_as_the_reference_tells_it(
    kind: str, code: str, detail: str, result: dict[str, str] | None, text: str
) -> None:
    error = failure(kind, {"code": code, "detail": detail}, result, 31)
    assert error.text == text
    assert error.data == {"code": code, "detail": detail, "command_id": 31}
