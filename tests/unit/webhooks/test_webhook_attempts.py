"""What follows from an attempt: pure rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.store.webhook_claims import Settlement, Standing
from shared.store.webhook_deliveries import MAX_EXCERPT, Attempt, DeliveryState
from shared.webhooks.attempts import (
    MAX_ATTEMPTS,
    MAX_RETRY_AFTER_S,
    PAUSES_S,
    excerpt_of,
    fault_of,
    judge,
    pause_after,
    read_retry_after,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAYS_3 = 259_200.0
FRESH = Standing(None, None)

fractions = st.floats(0, 1)
waits = st.none() | st.floats(0, 1e9)


def attempt(status: int | None) -> Attempt:
    return Attempt(NOW, 5, status, "timeout" if status is None else fault_of(status))


def judged(status: int | None, *, tries: int = 0, standing: Standing = FRESH, jitter: float = 0.5) -> Settlement:
    return judge(
        attempt(status),
        tries=tries,
        standing=standing,
        now=NOW,
        retry_after_s=None,
        jitter=jitter,
        disable_after_s=DAYS_3,
    )


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_success_is_2xx_and_ends_the_failing(status: int) -> None:
    done = judged(status, tries=10, standing=Standing(NOW - timedelta(days=9), NOW))
    assert (done.state, done.failing_since, done.disables) == (DeliveryState.DELIVERED, None, None)


@pytest.mark.parametrize("status", [None, 100, 199, 300, 301, 302, 307, 400, 404, 410, 429, 500, 503, 599])
def test_everything_else_is_none(status: int | None) -> None:
    assert judged(status).state is DeliveryState.PENDING
    assert judged(status).failing_since == NOW


def test_redirects_have_a_code_of_their_own() -> None:
    assert [fault_of(status) for status in (204, 302, 404)] == [None, "redirected", "bad_status"]


@given(st.integers(0, 30), fractions, waits)
def test_pauses_keep_to_their_schedule_and_their_bounds(tries: int, jitter: float, asked_s: float | None) -> None:
    pause_s = pause_after(tries, jitter=jitter, retry_after_s=asked_s)
    if tries >= len(PAUSES_S):
        assert pause_s is None
        return
    assert pause_s is not None
    assert pause_s >= 0.9 * PAUSES_S[tries] - 1e-6
    assert pause_s <= max(1.1 * PAUSES_S[tries] + 1e-6, MAX_RETRY_AFTER_S)
    if asked_s is not None:
        assert pause_s >= min(asked_s, MAX_RETRY_AFTER_S)


@given(st.lists(fractions, min_size=len(PAUSES_S), max_size=len(PAUSES_S)))
def test_all_attempts_together_take_about_a_day(jitters: list[float]) -> None:
    whole_s = sum(pause_after(tries, jitter=jitter) or 0 for tries, jitter in enumerate(jitters))
    assert 21 * 3_600 < whole_s < 27 * 3_600
    assert pause_after(len(PAUSES_S), jitter=0.5) is None
    assert MAX_ATTEMPTS == 11


def test_the_spread_is_used() -> None:
    assert pause_after(9, jitter=0) == pytest.approx(0.9 * 28_800)
    assert pause_after(9, jitter=1) == pytest.approx(1.1 * 28_800)


def test_the_last_failure_ends_the_delivery_and_is_told_once_an_hour() -> None:
    last = len(PAUSES_S)
    assert judged(500, tries=last - 1).state is DeliveryState.PENDING
    first = judged(500, tries=last)
    assert (first.state, first.tells, first.disables) == (DeliveryState.FAILED, True, None)
    for told, tells in ((timedelta(minutes=59), False), (timedelta(minutes=60), True)):
        assert judged(500, tries=last, standing=Standing(NOW, NOW - told)).tells is tells


def test_days_without_one_success_disable_and_only_with_a_delivery_that_has_failed_for_good() -> None:
    for since, disables in ((timedelta(days=2, hours=23), None), (timedelta(days=3), "failing")):
        standing = Standing(NOW - since, None)
        ended = judged(500, tries=len(PAUSES_S), standing=standing)
        assert (ended.disables, ended.failing_since) == (disables, NOW - since)
        assert judged(500, tries=0, standing=standing).disables is None


def test_410_disables_at_once_and_the_delivery_waits() -> None:
    gone = judged(410)
    assert (gone.state, gone.disables) == (DeliveryState.PENDING, "gone")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 40, MAX_RETRY_AFTER_S),
        ("Sat, 31 Jan 2026 12:01:00 GMT", 60.0),
        ("Sat, 31 Jan 2026 11:59:00 GMT", None),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("٣", None),
        ("Sat, 99 Foo 2026", None),
    ],
)
def test_retry_after_is_a_number_or_a_time(text: str | None, seconds: float | None) -> None:
    assert read_retry_after(text, NOW) == seconds


@given(st.text(max_size=60))
def test_any_retry_after_is_read_without_a_fault(text: str) -> None:
    found = read_retry_after(text, NOW)
    assert found is None or found >= 0


@given(st.binary(max_size=6_000))
def test_an_excerpt_is_one_bounded_line_of_plain_text(body: bytes) -> None:
    excerpt = excerpt_of(body)
    if excerpt is not None:
        assert 0 < len(excerpt) <= MAX_EXCERPT
        assert excerpt.isprintable()
        excerpt.encode()


def test_an_excerpt_obeys_no_terminal() -> None:
    assert excerpt_of(b"a\x1b[31mred\x00\r\n\tb") == "a [31mred b"
    assert excerpt_of(b"  \n") is None
