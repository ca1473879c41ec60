"""JSON texts that follow each other: a WebSocket message may hold several, and a text may go on in the next message.

Only where a text ends is found here, by its brackets and strings; what it says is read by `shared.strict_json`.
"""

from __future__ import annotations

import re

MAX_BYTES = 65_536
MAX_TEXTS = 100

_SPACE = re.compile(rb"[ \t\r\n]*")
_WORD = re.compile(rb"[-+.0-9A-Za-z]+")
_MARK = re.compile(rb'["\[\]{}]')
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


class TextsError(Exception):
    """What has arrived cannot be part of any text; it is dropped. `found`: the texts before it."""

    def __init__(self, code: str, found: list[bytes]) -> None:
        super().__init__(code)
        self.code = code
        self.found = found


class Texts:
    """Cuts what arrives into texts. Keeps at most `max_bytes` of one that is not complete.

    Each byte is looked at once, in however many pieces a text arrives: who sends it byte by byte keeps nobody waiting.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, max_texts: int = MAX_TEXTS) -> None:
        self._max_bytes = max_bytes
        self._max_texts = max_texts
        self._begun = b""
        self._place, self._depth, self._in_string = 0, 0, False
        """Up to where what has begun was looked at, and what was found there."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the texts that are complete now.

        Raises TextsError `not_json`, `text_too_large` or `too_many_texts`; what comes after that begins a new text.
        """
        data = self._begun + chunk
        found: list[bytes] = []
        try:
            at = self._cut(data, found)
        except TextsError:
            self._begun = b""
            self._place, self._depth, self._in_string = 0, 0, False
            raise
        self._begun = data[at:]
        self._place -= at
        return found

    def _cut(self, data: bytes, found: list[bytes]) -> int:
        """Find the texts that are complete, and return where the one begins that is not."""
        at = self._skip_space(data, 0)
        while at < len(data):
            end = self._end_of(data, at, found)
            if (len(data) if end is None else end) - at > self._max_bytes:
                raise TextsError("text_too_large", found)
            if end is None:
                return at
            if len(found) == self._max_texts:
                raise TextsError("too_many_texts", found)
            found.append(data[at:end])
            at = self._skip_space(data, end)
            self._place, self._depth, self._in_string = at, 0, False
        self._place = at
        return at

    @staticmethod
    def _skip_space(data: bytes, at: int) -> int:
        match = _SPACE.match(data, at)
        return at if match is None else match.end()

    def _end_of(self, data: bytes, start: int, found: list[bytes]) -> int | None:
        """Return where the text that begins here ends, None when it goes on: then it is known how far it was read."""
        if self._place <= start:
            word = _WORD.match(data, start)
            if word is not None:
                return word.end()
            if data[start] not in b'"[{':
                raise TextsError("not_json", found)
            self._place = start
        while True:
            if self._in_string:
                inside = _IN_STRING.match(data, self._place)
                self._place = self._place if inside is None else inside.end()
                if data[self._place : self._place + 1] != b'"':
                    return None
                self._place += 1
                self._in_string = False
            else:
                mark = _MARK.search(data, self._place)
                if mark is None:
                    self._place = len(data)
                    return None
                self._place = mark.end()
                if mark[0] == b'"':
                    self._in_string = True
                    continue
                self._depth += 1 if mark[0] in b"[{" else -1
            if self._depth <= 0:
                return self._place
