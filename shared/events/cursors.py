"""Cursors: where in which stream a reader is. Opaque to readers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_FORM = re.compile(r"(?P<stream>[0-9a-z]{1,32})-(?P<id>[0-9]{1,18})")


class EventsError(Exception):
    """The stream cannot be read so. `code` is stable."""

    code = "events"


class InvalidCursorError(EventsError):
    """The cursor is none that this stream could have given out."""

    code = "invalid_cursor"


class ExpiredCursorError(EventsError):
    """Events after the cursor may have been forgotten, or the stream was begun anew: something would be skipped."""

    code = "expired_cursor"


class TooManyFollowersError(EventsError):
    """This process has no room for another follower."""

    code = "too_many_followers"


class StreamEndedError(EventsError):
    """This process stops; go on elsewhere, from the last cursor."""

    code = "stream_ended"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a stream: after the event with this number."""

    stream: str
    id: int

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `str` has written. Raises InvalidCursorError."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise InvalidCursorError("the cursor should be one that came with an event")
        return cls(found["stream"], int(found["id"]))

    def __str__(self) -> str:
        return f"{self.stream}-{self.id}"
