"""`/pay/{id}`: the page of a payment request, its terms for software, its QR code, and its live state.

For strangers: nothing but what the request's owner has made public is shown, and only to those who know the id, which
nobody can guess. The page needs no script; with one it is live. It loads nothing from anybody else.
"""

import asyncio
import contextlib
import json
import re
from pathlib import Path as FilePath
from typing import Any

from fastapi import APIRouter, FastAPI
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from front.answering import Responses, answer
from front.examples import REQUEST_TERMS
from front.pages import words
from front.pages.live import NoPlaceError, Watch
from front.pages.qr import svg_of
from front.problems import NO_STORE, Problem
from front.request_views import PAGES, page_url, public_terms
from shared.receiving.errors import NotInitializedError, UnavailableError, database_errors
from shared.store import payment_requests
from shared.store.payment_requests import ID_PATTERN, PaymentRequest

router = APIRouter(prefix="/pay", tags=["payment requests"])

ASSETS_PATH = f"/{PAGES}assets"
LONGEST_S = 3_600.0
"""A page is live for so long, then it comes back."""
_HERE = FilePath(__file__).parent
_HEARTBEAT_S = 15.0
_SEND_S = 15.0
_AFTER_EXPIRY_S = 0.05
_RETRY_MS = 2_000
_ID = re.compile(ID_PATTERN)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}
_templates = Environment(
    loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_TERMS: Responses = {
    200: {
        "description": "The terms. `accepts` lists the ways to pay what is due; it is empty when nothing is",
        "content": {"application/json": {"schema": {"type": "object"}, "example": REQUEST_TERMS}},
    },
    404: {"description": "There is no such request"},
    429: {"description": "Too many requests from this network address; come back after `Retry-After` seconds"},
    503: {"description": "Not now; repeat the request after `Retry-After` seconds"},
}


def install(app: FastAPI) -> None:
    """Serve the pages and what they load."""
    app.include_router(router)
    app.mount(ASSETS_PATH, StaticFiles(directory=_HERE / "static"), name="pay-assets")


@router.get(
    "/{request_id}.json",
    summary="How a payment request can be paid, for software",
    responses=_TERMS,
    response_class=Response,
)
async def terms(request: Request, request_id: str) -> Response:
    """Tell what is due, and the ways to pay it. Public for whoever knows the id."""
    found = await _known(request, request_id)
    try:
        receiver = await request.app.state.receiver.terms()
    except NotInitializedError as error:
        raise Problem(503, error.code, error.text, headers={"retry-after": "5"}) from None
    content = public_terms(found, str(request.app.state.settings.public_url), receiver)
    return answer(content, headers={"access-control-allow-origin": "*"})


@router.get("/{request_id}/qr.svg", include_in_schema=False)
async def qr_code(request: Request, request_id: str) -> Response:
    """Show the address of the page as a QR code."""
    found = await _known(request, request_id)
    image = svg_of(page_url(str(request.app.state.settings.public_url), found.id))
    headers = _HEADERS | {"cache-control": "private, max-age=3600"}
    return Response(image, headers=headers, media_type="image/svg+xml")


@router.get("/{request_id}/events", include_in_schema=False)
async def events(request: Request, request_id: str) -> Response:
    """Tell where the request stands, now and as it changes, until nothing is due any more."""
    found = await _known(request, request_id)
    address = request.app.state.address_limits.address_of(request.scope)
    stack = contextlib.AsyncExitStack()
    try:
        with database_errors():
            watch = await stack.enter_async_context(request.app.state.pages.watch(found, address))
    except NoPlaceError:
        raise Problem(
            503, "too_many_followers", "too many pages are live here", headers={"retry-after": "10"}
        ) from None
    return LiveStream(watch, stack)


@router.get("/{request_id}", include_in_schema=False)
async def page(request: Request, request_id: str) -> Response:
    """Show the page."""
    try:
        found = await _known(request, request_id)
    except Problem as problem:
        return _html("none.html", problem.status)
    except UnavailableError as error:
        return _html("later.html", error.status, error.headers)
    public_url = str(request.app.state.settings.public_url)
    return _html(
        "request.html",
        200,
        request=found,
        live=words.live(found),
        url=page_url(public_url, found.id),
        host=words.host_of(public_url),
        words=words,
    )


class LiveStream(Response):
    """Server-sent events of one page."""

    media_type = "text/event-stream"

    def __init__(self, watch: Watch, stack: contextlib.AsyncExitStack) -> None:
        super().__init__(headers={**NO_STORE, "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._watch = watch
        self._stack = stack

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the page is left, nothing is due any more, or the server stops."""
        async with self._stack:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            telling = asyncio.create_task(self._tell(send))
            leaving = asyncio.create_task(_gone(receive))
            try:
                await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (telling, leaving):
                    task.cancel()
                await asyncio.gather(telling, leaving, return_exceptions=True)

    async def _tell(self, send: Send) -> None:
        async def write(text: str, *, more: bool = True) -> None:
            async with asyncio.timeout(_SEND_S):
                await send({"type": "http.response.body", "body": text.encode(), "more_body": more})

        loop = asyncio.get_running_loop()
        until_s = loop.time() + LONGEST_S
        last = ""
        while not self._watch.is_ended and loop.time() < until_s:
            told = words.live(self._watch.request)
            text = json.dumps(told, separators=(",", ":"))
            await write(f"retry: {_RETRY_MS}\nevent: state\ndata: {text}\n\n" if text != last else ": still here\n\n")
            last = text
            if told["is_final"]:
                break
            await self._watch.wait(min(_HEARTBEAT_S, self._watch.expires_in_s + _AFTER_EXPIRY_S))
        await write("", more=False)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _known(request: Request, request_id: str) -> PaymentRequest:
    request.app.state.address_limits.admit_public(request.scope)
    found = None
    if _ID.fullmatch(request_id):
        with database_errors():
            async with request.app.state.database.connection() as conn:
                found = await payment_requests.get(conn, request_id)
    if found is None:
        raise Problem(404, "unknown_payment_request", "there is no payment request with this id")
    return found


def _html(template: str, status: int, headers: dict[str, str] | None = None, **values: Any) -> Response:
    text = _templates.get_template(template).render(values)
    return HTMLResponse(text, status, headers=_HEADERS | NO_STORE | (headers or {}))
