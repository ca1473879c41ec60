"""Applications that read the same body and answer as the front does, without looking: what the framework costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_BODY = b'{"response":"received payment for 1 base"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]

fastapi_app = FastAPI(openapi_url=None)


# No annotations to resolve but the request's: the route does what the framework does for every route, and no more.
@fastapi_app.post("/post", response_model=None)
async def post(request: Request) -> dict[str, str]:
    """Answer."""
    await request.body()
    return {"response": "received payment for 1 base"}


async def asgi_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, without any framework."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    b"".join(chunks)
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})
