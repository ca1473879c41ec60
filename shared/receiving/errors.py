"""Why a package, a channel or a request was not taken. Every error has a stable `code` and a text for people."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.store.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.limits.buckets import Limit


class ReceivingError(Exception):
    """A refusal: `code` is stable, the text names the field and the rule."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class PackageRefused(ReceivingError):  # noqa: N818 - a refusal is an outcome, not a fault
    """A signed package breaks a rule that no state of any channel can change."""


class ChannelRefused(ReceivingError):  # noqa: N818 - likewise
    """A channel cannot be opened on these terms.

    `agent_versions`: those that could be asked for, the preferred one first, when that was the reason.
    """

    def __init__(self, code: str, text: str, agent_versions: tuple[str, ...] | None = None) -> None:
        super().__init__(code, text)
        self.agent_versions = agent_versions


class NotInitializedError(ReceivingError):
    """No worker has written yet whose wallet this installation receives for."""

    def __init__(self) -> None:
        super().__init__("not_initialized", "I'm not initialized yet")


class NotReadyError(ReceivingError):
    """The channel could not take a payment now."""


class UnavailableError(ReceivingError):
    """Not now: the same request may succeed later, and repeating it is safe.

    Codes: `database_unavailable`, `watcher_silent`, `overloaded`, `shutting_down`, `limits_unavailable`. `status`: what
    doors that speak HTTP answer with.
    """

    status = 503

    def __init__(self, code: str, text: str, *, retry_after_s: int = 1) -> None:
        super().__init__(code, text)
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """What doors that speak HTTP say beside it."""
        return {"retry-after": str(self.retry_after_s)}


class LimitedError(UnavailableError):
    """Not so much of it: a limit is reached, nothing was done, and the same request may succeed later.

    `wait_s`: until then, in seconds. Codes: `too_many_requests`, `too_many_payments`, `too_many_refusals`,
    `too_many_openings`, `too_many_failures`, `too_many_commands`.
    """

    status = 429

    def __init__(self, code: str, text: str, *, wait_s: float, limit: Limit | None = None) -> None:
        super().__init__(code, text, retry_after_s=max(1, math.ceil(wait_s)))
        self.limit = limit

    @property
    def headers(self) -> dict[str, str]:
        """Return the time to wait, and the limit (RateLimit header fields for HTTP, draft 10)."""
        said = super().headers
        if self.limit is None:
            return said
        policy = f'"{self.limit.name}";q={max(1, int(self.limit.most))};w={math.ceil(self.limit.period_s)}'
        return said | {"ratelimit-policy": policy, "ratelimit": f'"{self.limit.name}";r=0;t={self.retry_after_s}'}


def database_unavailable() -> UnavailableError:
    """Return the error for a database that cannot be reached, or not in time."""
    return UnavailableError("database_unavailable", "the database is not available now")


@contextmanager
def database_errors() -> Iterator[None]:
    """Raise UnavailableError in place of the store's errors of that kind."""
    try:
        yield
    except DatabaseUnavailableError as error:
        raise database_unavailable() from error
