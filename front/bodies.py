"""Reading a request's body: never more of it than allowed, and JSON in one meaning only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from shared.strict_json import JsonValue, StrictJsonError, decode

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_BODY_BYTES = 65_536


class BodyError(Exception):
    """The body cannot be used. `status` is the HTTP status, `code` stable."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text


async def read_json(request: Request) -> JsonValue:
    """Read and decode the body. Raises BodyError: 413 when it is too large, 400 when it is not strict JSON."""
    raw = await read_body(request)
    try:
        return decode(raw)
    except StrictJsonError as error:
        raise BodyError(400, error.code, str(error)) from None


async def read_body(request: Request) -> bytes:
    """Read the body. Raises BodyError: 413 when it is too large, 400 when it ends too early."""
    declared = request.headers.get("content-length")
    if declared is not None and (not declared.isdecimal() or int(declared[:20]) > MAX_BODY_BYTES):
        raise _too_large()
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise _too_large()
            chunks.append(chunk)
    except ClientDisconnect:
        raise BodyError(400, "body_incomplete", "the connection ended before the body did") from None
    return b"".join(chunks)


def _too_large() -> BodyError:
    return BodyError(413, "body_too_large", f"the body is larger than {MAX_BODY_BYTES} bytes")
