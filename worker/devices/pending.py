"""Requests of ours that wait for an answer. An answer counts only from the device that was asked."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.peers.errors import PeerUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.obyte.serialization import JsonValue

MAX_PENDING = 1_000
MAX_TAG_CHARACTERS = 120


class PendingRequests:
    """Futures by the device that was asked and the request's tag. What nobody waits for (any more) is no answer."""

    def __init__(self, limit: int = MAX_PENDING) -> None:
        self._limit = limit
        self._waiting: dict[tuple[str, str], asyncio.Future[JsonValue]] = {}

    @contextmanager
    def expect(self, device: str, tag: str) -> Iterator[asyncio.Future[JsonValue]]:
        """Wait for an answer within the block. Raises PeerUnreachableError when too many are waited for."""
        if len(self._waiting) >= self._limit:
            text = f"more than {self._limit} requests wait for an answer"
            raise PeerUnreachableError("peer_unavailable", text, may_have_acted=False)
        waiting: asyncio.Future[JsonValue] = asyncio.get_running_loop().create_future()
        self._waiting[device, tag] = waiting
        try:
            yield waiting
        finally:
            del self._waiting[device, tag]

    def answer(self, device: str, body: JsonValue) -> bool:
        """Take a message as an answer; False when it is none that is waited for from this device."""
        tag = body.get("tag") if isinstance(body, dict) else None
        waiting = self._waiting.get((device, tag)) if isinstance(tag, str) else None
        if waiting is None:
            return False
        if not waiting.done():
            waiting.set_result(body)
        return True
