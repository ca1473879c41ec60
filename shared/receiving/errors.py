"""Why a package, a channel or a request was not taken. Every error has a stable `code` and a text for people."""

from __future__ import annotations


class ReceivingError(Exception):
    """A refusal: `code` is stable, the text names the field and the rule."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class PackageRefused(ReceivingError):  # noqa: N818 - a refusal is an outcome, not a fault
    """A signed package breaks a rule that no state of any channel can change."""


class ChannelRefused(ReceivingError):  # noqa: N818 - likewise
    """A channel cannot be opened on these terms."""


class UnavailableError(ReceivingError):
    """Not now: the same request may succeed later, and repeating it is safe.

    Codes: `database_unavailable`, `watcher_silent`, `overloaded`, `not_initialized`, `shutting_down`.
    """

    def __init__(self, code: str, text: str, *, retry_after_s: int = 1) -> None:
        super().__init__(code, text)
        self.retry_after_s = retry_after_s
