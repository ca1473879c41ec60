"""What one side of a BTP connection has asked and has no answer to."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from shared.interledger.btp.events import Failed
from shared.interledger.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.interledger.btp.limits import Limits


class Asking:
    """Requests in flight, bounded in number and time.

    `request_ids` gives 32-bit numbers; by default they are counted: a late answer to what was given up is then never
    taken for that of a newer request (BTP-14).
    """

    def __init__(self, limits: Limits, request_ids: Callable[[], int] | None = None) -> None:
        self._limits = limits
        counter = count(1)
        self._request_ids = request_ids or (lambda: next(counter) & 0xFFFF_FFFF)
        # Every request may take equally long, so these are in the order of their deadlines.
        self._deadlines: dict[int, float] = {}

    @property
    def next_deadline_s(self) -> float | None:
        """When the oldest request will have taken too long; None when there is none."""
        return next(iter(self._deadlines.values()), None)

    def new_id(self) -> int:
        """Return a number that no request in flight has. Raises StateError `request_limit`."""
        if len(self._deadlines) >= self._limits.pending:
            raise StateError("request_limit", "request", f"would be one of more than {self._limits.pending} in flight")
        # Ends, because there are more numbers than requests in flight.
        while (request_id := self._request_ids()) in self._deadlines:
            pass
        return request_id

    def began(self, request_id: int, now_s: float) -> None:
        """Wait for the answer to this one from now on."""
        self._deadlines[request_id] = now_s + self._limits.response_s

    def ended(self, request_id: int) -> bool:
        """Wait no longer for this one; False if nobody did."""
        return self._deadlines.pop(request_id, None) is not None

    def late(self, now_s: float) -> list[Failed]:
        """Give up what has taken too long."""
        late: list[Failed] = []
        for request_id, until in self._deadlines.items():
            if now_s < until:
                break
            late.append(Failed(request_id, "timed_out"))
        for failed in late:
            del self._deadlines[failed.request_id]
        return late

    def all_failed(self) -> list[Failed]:
        """Give up everything: the connection is over."""
        failed = [Failed(request_id, "closed") for request_id in self._deadlines]
        self._deadlines.clear()
        return failed
