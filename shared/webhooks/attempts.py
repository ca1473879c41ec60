"""What follows from an attempt to deliver an event: success, a pause, or the end. Pure."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from shared.store.webhook_claims import Settlement
from shared.store.webhook_deliveries import MAX_EXCERPT, DeliveryState
from shared.store.webhooks import DisabledReason

if TYPE_CHECKING:
    from shared.store.webhook_claims import Standing
    from shared.store.webhook_deliveries import Attempt

PAUSES_S = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800)
"""After each failed attempt, about: 24 hours in all. After one more attempt the delivery has failed."""
MAX_ATTEMPTS = len(PAUSES_S) + 1
JITTER = 0.2
"""Width of the spread around a pause, as a part of it."""
MAX_RETRY_AFTER_S = 3_600.0
"""A server may ask for a longer pause than ours, up to this."""
TELL_AGAIN_S = 3_600.0
"""A webhook that fails is told of this often at most."""
_REDIRECTS = range(300, 400)


def judge(
    attempt: Attempt,
    *,
    tries: int,
    standing: Standing,
    now: datetime,
    retry_after_s: float | None,
    jitter: float,
    disable_after_s: float,
) -> Settlement:
    """Return what follows from an attempt. `tries`: those that have failed before it; `jitter`: from 0 to 1.

    Success is a status of 2xx alone. 410 disables the webhook at once; the delivery waits until somebody enables it.
    A delivery that fails for good disables it, too, when nothing has succeeded for `disable_after_s`.
    """
    if attempt.error is None:
        return Settlement(DeliveryState.DELIVERED, failing_since=None)
    since = standing.failing_since or now
    if attempt.status == HTTPStatus.GONE:
        return Settlement(DeliveryState.PENDING, since, next_attempt_at=now, disables=DisabledReason.GONE)
    pause_s = pause_after(tries, jitter=jitter, retry_after_s=retry_after_s)
    if pause_s is not None:
        return Settlement(DeliveryState.PENDING, since, next_attempt_at=now + timedelta(seconds=pause_s))
    if now - since >= timedelta(seconds=disable_after_s):
        return Settlement(DeliveryState.FAILED, since, disables=DisabledReason.FAILING)
    told_at = standing.told_at
    tells = told_at is None or now - told_at >= timedelta(seconds=TELL_AGAIN_S)
    return Settlement(DeliveryState.FAILED, since, tells=tells)


def after(standing: Standing, settlement: Settlement, now: datetime) -> Standing:
    """Return how a webhook has done after one more attempt."""
    return replace(
        standing,
        failing_since=settlement.failing_since,
        told_at=now if settlement.tells else standing.told_at,
        is_active=standing.is_active and settlement.disables is None,
    )


def pause_after(tries: int, *, jitter: float, retry_after_s: float | None = None) -> float | None:
    """Return how long to wait after one more failure, None when that was the last attempt."""
    if tries >= len(PAUSES_S):
        return None
    pause_s = PAUSES_S[tries] * (1 - JITTER / 2 + JITTER * jitter)
    return max(pause_s, min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))


def fault_of(status: int) -> str | None:
    """Return the code of an answer that is no success, None of one that is."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    return "redirected" if status in _REDIRECTS else "bad_status"


def read_retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds of a header `Retry-After`, which may name a time; None without one or for what is neither."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:12]), MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    return seconds if seconds > 0 and math.isfinite(seconds) else None


def excerpt_of(body: bytes) -> str | None:
    """Return the beginning of an answer as one line of plain text, None of an empty one."""
    # A character takes up to four bytes; what follows is not looked at.
    text = body[: 4 * MAX_EXCERPT].decode("utf-8", "replace")
    words = "".join(character if character.isprintable() else " " for character in text).split()
    return " ".join(words)[:MAX_EXCERPT] or None
