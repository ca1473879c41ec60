"""What somebody may ask for: one reading of every member, and nothing that could mislead a payer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from shared.requests.asking import Asked, ExpiryError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_everything_that_may_be_asked_for() -> None:
    asked = Asked.model_validate(
        {
            "amount": 1_200,
            "asset": "a" * 43 + "=",
            "memo": "Zwei Tassen\nund ein Löffel",
            "metadata": {"order": {"number": 7}},
            "public_metadata": {"shop": "Tee & mehr"},
            "return_url": "https://shop.example/orders/7?paid=1",
            "expires_at": "2026-01-01T00:00:01Z",
        }
    )
    assert asked.expiry(NOW) == NOW + timedelta(seconds=1)
    assert Asked(amount=1).expiry(NOW) is None
    assert Asked(amount=1, expires_in_s=60).expiry(NOW) == NOW + timedelta(seconds=60)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 0},
        {"amount": "12"},
        {"amount": True},
        {"amount": 9_000_000_000_000_001},
        {"asset": "BASE"},
        {"memo": ""},
        {"memo": "  \n"},
        {"memo": "x" * 501},
        {"memo": "pay \u202eevil"},
        {"memo": "bell \x07"},
        {"metadata": []},
        {"metadata": {"a": "x" * 4_096}},
        {"public_metadata": {"a": "\u00fc" * 1_000}},
        {"return_url": "javascript:alert(1)"},
        {"return_url": "https://shop.example@evil.example/"},
        {"return_url": "https:///nowhere"},
        {"return_url": "https://shop.example/ two"},
        {"return_url": "http://[::1"},
        {"expires_at": "1767225601"},
        {"expires_at": 1_767_225_601},
        {"expires_at": "2026-01-01T00:00:01"},
        {"expires_in_s": 0},
        {"expires_in_s": 5, "expires_at": "2026-01-01T00:00:01Z"},
        {"tip": 5},
    ],
)
def test_what_may_not_be_asked_for(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Asked.model_validate({"amount": 1, **change})


@pytest.mark.parametrize("moment", ["2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z", "2040-01-01T00:00:00Z"])
def test_an_expiry_lies_ahead_and_not_too_far(moment: str) -> None:
    with pytest.raises(ExpiryError):
        Asked.model_validate({"amount": 1, "expires_at": moment}).expiry(NOW)
