"""A stream that is bought by the second: whoever stops paying stops getting."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.responses import StreamingResponse

from sluice.fastapi import RESPONSES, PaymentRequired, Payments, RemoteReceiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PRICE_PER_SECOND = 50
LONGEST_S = 60


def price(request: Request) -> int:
    """Say what so many seconds cost; nobody has to pay for a number that is none."""
    seconds = request.query_params.get("seconds", "")
    if not seconds.isdecimal() or not 1 <= int(seconds[:4]) <= LONGEST_S:
        raise HTTPException(422, f"seconds should be a number from 1 to {LONGEST_S}")
    return int(seconds) * PRICE_PER_SECOND


def create(front_url: str | None = None, api_key: str | None = None, *, second_s: float = 1.0) -> FastAPI:
    """Make the application; `second_s` is how long a second takes."""
    app = FastAPI(title="Ticker")
    app.state.second_s = second_s
    Payments(app, RemoteReceiver(front_url or os.environ["FRONT_URL"], api_key=api_key or os.environ["API_KEY"]))
    # Streams are not kept. The first tick is a part of what is bought, so the same request again gets the same ticks.
    paid = Depends(PaymentRequired(price, keep_answer=False))
    app.get("/ticks", responses=RESPONSES, dependencies=[paid])(ticks)
    return app


async def ticks(request: Request, seconds: int, first: int = 0) -> StreamingResponse:
    """Send one line each second, for as many seconds as were paid for."""
    return StreamingResponse(_lines(first, seconds, request.app.state.second_s), media_type="text/plain")


async def _lines(first: int, count: int, second_s: float) -> AsyncIterator[bytes]:
    for number in range(first, first + count):
        yield f"tick {number}\n".encode()
        await asyncio.sleep(second_s)
