"""Which hub is asked next: the first in the list that neither failed just now nor was caught lying."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class HubChoice:
    """The hubs in the order of the settings, and what is held against them. `monotonic` gives seconds.

    A hub that was set aside comes after all others, but it does come: what it tells is proven anyway, and a bad hub
    is better than none.
    """

    def __init__(self, urls: Sequence[str], monotonic: Callable[[], float]) -> None:
        self.urls = tuple(urls)
        self._monotonic = monotonic
        self._failed: set[str] = set()
        self._aside_until_s: dict[str, float] = {}
        self._first: str | None = None

    def next(self) -> str | None:
        """Return the hub to be tried now; None when all have failed since one worked: pause, then ask again."""
        first, self._first = self._first, None
        if first is not None and first not in self._failed and not self._is_aside(first):
            return first
        for url in self._in_order():
            if url not in self._failed:
                return url
        self._failed.clear()
        return None

    def failed(self, url: str, *, set_aside_s: float = 0.0) -> None:
        """Note that a hub did not serve; `set_aside_s`: it was caught lying, others come before it for this long."""
        self._failed.add(url)
        if set_aside_s:
            self._aside_until_s[url] = self._monotonic() + set_aside_s

    def try_first(self, url: str | None) -> None:
        """Let this hub be the next one, whatever the order: it knows what the one in use does not. None: no more."""
        self._first = url

    def works(self) -> None:
        """Note that a hub serves: when it ends, all may be tried again."""
        self._failed.clear()

    def others(self, url: str) -> tuple[str, ...]:
        """Return the other hubs that were not caught lying."""
        return tuple(other for other in self.urls if other != url and not self._is_aside(other))

    def set_aside(self, url: str) -> tuple[str, ...]:
        """Return the other hubs that come after all others for now."""
        return tuple(other for other in self.urls if other != url and self._is_aside(other))

    def better_than(self, url: str) -> tuple[str, ...]:
        """Return the hubs that are listed before this one and not set aside."""
        before = self.urls[: self.urls.index(url)]
        return tuple(other for other in before if not self._is_aside(other))

    def _in_order(self) -> list[str]:
        return sorted(self.urls, key=lambda url: self._aside_until_s.get(url, 0.0) if self._is_aside(url) else 0.0)

    def _is_aside(self, url: str) -> bool:
        return self._monotonic() < self._aside_until_s.get(url, 0.0)
