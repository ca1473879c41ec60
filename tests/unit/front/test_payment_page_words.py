"""What the page of a payment request tells in each state: what came, and whether to pay."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from front.pages import words
from shared.store.payment_requests import PaymentRequest

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(hours=1), NOW - timedelta(hours=1)
REQUEST = PaymentRequest(
    id="A" * 22,
    number=1,
    amount=12_000,
    asset="base",
    memo=None,
    metadata=None,
    public_metadata=None,
    return_url=None,
    created_by=None,
    created_at=EARLIER,
    expires_at=LATER,
    cancelled_at=None,
    in_time=0,
    late=0,
    payments=0,
    foreign=0,
    now=NOW,
)


@pytest.mark.parametrize(
    ("change", "title", "detail", "amount"),
    [
        ({}, "Waiting for payment", "Nothing has been received yet.", "12_000"),
        ({"in_time": 5_000}, "Partly paid", "5_000 of 12_000 bytes received, 7_000 to go.", "7_000"),
        ({"in_time": 12_000}, "Paid", "12_000 bytes received. Thank you!", "12_000"),
        ({"in_time": 12_001}, "Paid, and more", "12_001 bytes received, 1 more than asked for.", "12_000"),
        ({"expires_at": EARLIER}, "Expired", "Please do not pay any more", "12_000"),
        ({"expires_at": EARLIER, "in_time": 5}, "Expired", "5 of 12_000 bytes received; the payee has it.", "12_000"),
        ({"expires_at": EARLIER, "late": 5}, "Paid too late", "5 of it after the request had expired.", "12_000"),
        ({"cancelled_at": EARLIER}, "Cancelled", "Please do not pay any more", "12_000"),
    ],
)
def test_every_state_says_what_came_and_what_to_do(
    change: dict[str, object], title: str, detail: str, amount: str
) -> None:
    told = words.live(replace(REQUEST, **change))  # type: ignore[arg-type]
    assert told["title"] == title
    assert detail.replace("_", "\N{NARROW NO-BREAK SPACE}") in told["detail"]
    assert told["amount"] == amount.replace("_", "\N{NARROW NO-BREAK SPACE}")
    assert told["is_final"] == (title not in {"Waiting for payment", "Partly paid"})
    assert told["received"] <= REQUEST.amount


def test_other_assets_are_named_and_noted() -> None:
    asset = "x" * 43 + "="
    assert words.live(REQUEST)["note"] == ""
    assert words.live(replace(REQUEST, foreign=1))["note"].startswith("A payment in another asset")
    assert words.live(replace(REQUEST, foreign=2))["note"].startswith("2 payments in another asset")
    assert (
        "units of xxxxxxxxxx\N{HORIZONTAL ELLIPSIS}" in words.live(replace(REQUEST, asset=asset, in_time=5))["detail"]
    )
