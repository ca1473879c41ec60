"""Errors of calls: JSON-RPC numbers, the reference's words where it has some, and stable codes beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from front.problems import Problem
from shared.receiving.errors import ReceivingError, UnavailableError

if TYPE_CHECKING:
    from front.bodies import BodyError

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
UNKNOWN_METHOD = -32601
INVALID_PARAMS = -32602
FAILED = -32603
"""Whatever a method says no to. The reference has no other number for it."""
UNAUTHORIZED = -32001
NOT_NOW = -32003
"""The same call may succeed later."""
IN_PROGRESS = -32004
"""The order stands and goes on; its outcome was not known in time."""

_NUMBERS = {401: UNAUTHORIZED, 403: UNAUTHORIZED, 422: INVALID_PARAMS, 503: NOT_NOW}


class RpcError(Exception):
    """An error to answer a call with. `data` is for programs: `code` and what else is known; clients may ignore it."""

    def __init__(self, number: int, text: str, **data: Any) -> None:
        super().__init__(text)
        self.number = number
        self.text = text
        self.data = data

    def as_json(self) -> dict[str, Any]:
        """Return the error object of an answer."""
        return {"code": self.number, "message": self.text} | ({"data": self.data} if self.data else {})


def failed(text: str, code: str, **data: Any) -> RpcError:
    """Return the error of a method that was called in the right way and could not do it."""
    return RpcError(FAILED, text, code=code, **data)


def invalid_request() -> RpcError:
    """Return the error for what is no request."""
    return RpcError(INVALID_REQUEST, "Invalid Request")


def of_body(error: BodyError) -> RpcError:
    """Return the error for a body that cannot be used: too large, or not JSON that means one thing only."""
    if error.status != 400:  # noqa: PLR2004 - the one status of all that is not JSON
        return RpcError(INVALID_REQUEST, error.text, code=error.code)
    return of_text(error.code)


def of_text(code: str) -> RpcError:
    """Return the error for a text that is not JSON, by the code of the rule that it breaks."""
    return RpcError(PARSE_ERROR, "Invalid Request", **({} if code == "not_json" else {"code": code}))


def rpc_error_of(error: Problem | ReceivingError) -> RpcError:
    """Return a problem of another door as the error of a call."""
    if isinstance(error, Problem):
        return RpcError(_NUMBERS.get(error.status, FAILED), error.text, code=error.code)
    if isinstance(error, UnavailableError):
        return RpcError(NOT_NOW, error.text, code=error.code, retry_after_s=error.retry_after_s)
    return failed(error.text, error.code)
