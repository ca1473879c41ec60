"""Errors as RFC 9457 problem documents: every door but the peers' and the RPC's answers with these."""

from __future__ import annotations

import itertools
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from front.bodies import BodyError
from shared.logs import get_logger
from shared.receiving.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import FastAPI
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = get_logger(__name__)

NO_STORE = {"cache-control": "no-store"}
_MAX_FAULTS = 20
_CODES = {404: "not_found", 405: "method_not_allowed"}


class Problem(Exception):  # noqa: N818 - the RFC's own word
    """An error to answer with: HTTP status, stable `code`, a text for people, further members of the document."""

    def __init__(
        self,
        status: int,
        code: str,
        text: str,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text
        self.headers = dict(headers or {})
        self.members = dict(members or {})

    def response(self) -> Response:
        """Return the problem document."""
        document = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.text,
            "code": self.code,
            **self.members,
        }
        return JSONResponse(
            document, self.status, headers=NO_STORE | self.headers, media_type="application/problem+json"
        )


def unavailable(error: UnavailableError) -> Problem:
    """Return the 503 or 429 for something that will pass; the client is told when to come back."""
    return Problem(error.status, error.code, error.text, headers=error.headers)


def invalid_request(faults: Iterable[tuple[str, str]]) -> Problem:
    """Return the 422 for a request that is not as described: the place and the rule of each fault.

    Never the value that broke it, which may be a secret.
    """
    members = {"faults": [{"at": at, "rule": rule} for at, rule in itertools.islice(faults, _MAX_FAULTS)]}
    return Problem(422, "invalid_request", "the request is not as described", members=members)


def install(app: FastAPI) -> None:
    """Answer every error that reaches the application with a problem document."""
    app.exception_handler(Problem)(_on_problem)
    app.exception_handler(BodyError)(_on_body_error)
    app.exception_handler(UnavailableError)(_on_unavailable)
    app.exception_handler(HTTPException)(_on_http_exception)
    app.exception_handler(RequestValidationError)(_on_invalid_request)
    app.add_middleware(FailureBarrier)


class FailureBarrier:
    """Turns what nobody expected into a 500 that tells nothing, and a log entry that tells where."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except Exception as error:
            log_failure(Request(scope), error)
            if started:
                raise
            await Problem(500, "internal_error", "internal error").response()(scope, receive, send)


def log_failure(request: Request, error: Exception) -> None:
    """Log an error nobody expected: where it happened, never what was sent."""
    logger.error("request_failed", method=request.method, path=request.url.path, exc_info=error)


async def _on_problem(_request: Request, error: Problem) -> Response:
    return error.response()


async def _on_body_error(_request: Request, error: BodyError) -> Response:
    return Problem(error.status, error.code, error.text).response()


async def _on_unavailable(_request: Request, error: UnavailableError) -> Response:
    return unavailable(error).response()


async def _on_http_exception(_request: Request, error: HTTPException) -> Response:
    code = _CODES.get(error.status_code, "http_error")
    return Problem(error.status_code, code, str(error.detail), headers=error.headers).response()


async def _on_invalid_request(_request: Request, error: RequestValidationError) -> Response:
    return invalid_request([(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors()]).response()
