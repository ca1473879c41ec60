"""Every limit on size, count and time that a session or a matchmaker holds to. Nothing in the protocol has any."""

from __future__ import annotations

from dataclasses import dataclass

MAX_MSATS = 2_100_000_000_000_000_000
"""All bitcoin there will ever be, in millisatoshi."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one connection, but for the last two; seconds end in `_s`.

    The reference provider says nothing at all while its node pays: `silence_s` is longer than a payment takes.
    """

    max_refused: int = 100
    """Frames that are refused, beyond those that are taken, before the connection is closed."""

    max_open_requests: int = 64
    """Requests without an answer, in either direction."""

    max_remembered_requests: int = 256
    """Requests that timed out or failed and whose late answer is still recognised."""

    max_msats: int = MAX_MSATS
    """The largest invoice that is asked for or made."""

    max_error_chars: int = 500
    """Longer texts of errors are cut when they are handed on."""

    answer_s: float = 30
    """For the matchmaker to answer, the consumer to ask who provides, the provider to answer that."""

    wait_s: float = 3600
    """For the other end to come, or to be ready after it said that it is not yet."""

    request_s: float = 120
    """For an answer to a request for an invoice or a payment."""

    ping_s: float = 3
    """Between two pings of a consumer, as in the JavaScript library."""

    provider_ping_s: float = 30
    """Between two pings of a provider; only another Sluice answers them."""

    silence_s: float = 90
    """Without a frame from an end that answers or sends pings, until the connection is closed."""

    idle_s: float = 86_400
    """Without a frame between two ends that a matchmaker has joined."""

    max_diallers: int = 10_000
    """Connections at one matchmaker."""

    max_waiting: int = 5_000
    """Connections that wait for their other end at one matchmaker."""


DEFAULT_LIMITS = Limits()
