"""What the other side of an open BTP connection asks, and what becomes of it at once.

    a request                                       becomes
    ----------------------------------------------  ---------------------------------------------------------------
    its id is being answered already                Ignored: any answer would be taken for the first one's
    we are draining, or answer too many             Send ERROR T00 (HA-5, LPI-22)
    an entry is JSON that has no meaning, or two    Send ERROR F00; JSON that the owner reads himself is left to him
    TRANSFER                                        TransferRequested
    MESSAGE, `ilp` is among the entries             DataRequested
    MESSAGE, the owner reads what its first names   MessageRequested
    MESSAGE, anything else                          Send RESPONSE without entries (BTP-17)

Whatever becomes an event waits for an answer of the owner; the rest has its answer, or gets none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.interledger.btp import refusals
from shared.interledger.btp.events import DataRequested, Event, Ignored, MessageRequested, Send, TransferRequested
from shared.interledger.btp.frames import ContentType, Entries, Message, Response, Transfer, encode_frame
from shared.interledger.btp.subprotocols import ILP, ilp_of, value_of
from shared.interledger.errors import DecodingError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from shared.interledger.btp.limits import Limits


class Answering:
    """Requests of the peer that wait for an answer, bounded in number and size.

    `reads` are the names of the sub-protocols that the owner decodes himself.
    """

    def __init__(self, reads: frozenset[str], limits: Limits, utc: Callable[[], datetime]) -> None:
        self._reads = reads
        self._limits = limits
        self._utc = utc
        self._sizes: dict[int, int] = {}
        self._bytes = 0
        self.draining = False

    def __len__(self) -> int:
        return len(self._sizes)

    def take(self, frame: Message | Transfer, size: int) -> Event:
        """Return what becomes of a request whose frame has `size` bytes."""
        request_id, entries = frame.request_id, frame.entries
        if request_id in self._sizes:
            return Ignored("repeated_id")
        if self.draining:
            return self._refuse(request_id, refusals.UNREACHABLE, "going away")
        if len(self._sizes) >= self._limits.answering or self._bytes + size > self._limits.answering_bytes:
            return self._refuse(request_id, refusals.UNREACHABLE, "too many requests are being answered")
        try:
            self._check_json(entries)
        except DecodingError as error:
            return self._refuse(request_id, refusals.NOT_ACCEPTED, str(error))
        event = self._event(frame)
        if not isinstance(event, Send):
            self._sizes[request_id] = size
            self._bytes += size
        return event

    def check(self, request_id: int) -> None:
        """Raise StateError `not_answering` unless that request waits for an answer."""
        if request_id not in self._sizes:
            raise StateError("not_answering", "requestId", "is not that of a request to be answered")

    def ended(self, request_id: int) -> None:
        """It has its answer."""
        self._bytes -= self._sizes.pop(request_id, 0)

    def clear(self) -> None:
        """Nobody waits for answers any longer."""
        self._sizes.clear()
        self._bytes = 0

    def _event(self, frame: Message | Transfer) -> Event:
        request_id, entries = frame.request_id, frame.entries
        if isinstance(frame, Transfer):
            return TransferRequested(request_id, frame.amount, entries)
        data = ilp_of(entries)
        if data is not None:
            return DataRequested(request_id, data, entries)
        if entries and entries[0].name in self._reads:
            return MessageRequested(request_id, entries[0].name, entries)
        return Send(encode_frame(Response(request_id)))

    def _check_json(self, entries: Entries) -> None:
        for entry in entries:
            if entry.content_type == ContentType.JSON and entry.name != ILP and entry.name not in self._reads:
                value_of(entry)

    def _refuse(self, request_id: int, name: str, message: str) -> Send:
        return Send(encode_frame(refusals.refusal(request_id, name, message, self._utc())))
