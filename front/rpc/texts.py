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
_STRING_END = re.compile(rb'(?:[^"\\]|\\.)*+"', re.DOTALL)


class TextsError(Exception):
    """What has arrived cannot be part of any text; it is dropped. `found`: the texts before it."""

    def __init__(self, code: str, found: list[bytes]) -> None:
        super().__init__(code)
        self.code = code
        self.found = found


class Texts:
    """Cuts what arrives into texts. Keeps at most `max_bytes` of one that is not complete."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_texts: int = MAX_TEXTS) -> None:
        self._max_bytes = max_bytes
        self._max_texts = max_texts
        self._begun = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the texts that are complete now.

        Raises TextsError `not_json`, `text_too_large` or `too_many_texts`; what comes after that begins a new text.
        """
        data, self._begun = self._begun + chunk, b""
        found: list[bytes] = []
        at = self._skip_space(data, 0)
        while at < len(data):
            end = self._end_of(data, at, found)
            if end is None:
                if len(data) - at > self._max_bytes:
                    raise TextsError("text_too_large", found)
                self._begun = data[at:]
                break
            if end - at > self._max_bytes:
                raise TextsError("text_too_large", found)
            if len(found) == self._max_texts:
                raise TextsError("too_many_texts", found)
            found.append(data[at:end])
            at = self._skip_space(data, end)
        return found

    @staticmethod
    def _skip_space(data: bytes, at: int) -> int:
        match = _SPACE.match(data, at)
        return at if match is None else match.end()

    @staticmethod
    def _end_of(data: bytes, start: int, found: list[bytes]) -> int | None:
        """Return where the text that begins here ends, None when it goes on."""
        word = _WORD.match(data, start)
        if word is not None:
            return word.end()
        if data[start] not in b'"[{':
            raise TextsError("not_json", found)
        depth, at = 0, start
        while (mark := _MARK.search(data, at)) is not None:
            at = mark.end()
            if mark[0] == b'"':
                string = _STRING_END.match(data, at)
                if string is None:
                    return None
                at = string.end()
            else:
                depth += 1 if mark[0] in b"[{" else -1
            if depth <= 0:
                return at
        return None
