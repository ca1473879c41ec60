"""A server that events are sent to: it checks the signature, books each payment once, and answers quickly.

Verifying is left to a library after Standard Webhooks; there is one for every common language. An event may come more
than once, under the same id: what was booked is remembered by it, here in memory, in earnest in the database and in the
same transaction as the booking.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from standardwebhooks import Webhook, WebhookVerificationError

MAX_REMEMBERED = 10_000


@dataclass
class Books:
    """What was earned, by asset. `seen`: ids of the newest events."""

    earned: dict[str, int] = field(default_factory=dict)
    seen: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def book(self, event_id: str, event: dict[str, Any]) -> None:
        """Book a payment; do nothing for an event that was here before, and for other ones."""
        if event_id in self.seen:
            return
        if event["type"] == "payment_received":
            paid = event["data"]
            self.earned[paid["asset"]] = self.earned.get(paid["asset"], 0) + paid["amount"]
        self.seen[event_id] = None
        if len(self.seen) > MAX_REMEMBERED:
            self.seen.popitem(last=False)


def create(secret: str | None = None) -> FastAPI:
    """Make the server. `secret`: what `sluice webhooks create` has printed, or the variable WEBHOOK_SECRET."""
    app, books = FastAPI(), Books()
    webhook = Webhook(secret or os.environ["WEBHOOK_SECRET"])

    @app.post("/sluice", status_code=204)
    async def take(request: Request) -> None:
        try:
            event = webhook.verify(await request.body(), dict(request.headers))
        except WebhookVerificationError:
            raise HTTPException(401, "the signature does not fit") from None
        books.book(request.headers["webhook-id"], event)

    @app.get("/earned")
    async def earned() -> dict[str, int]:
        return books.earned

    return app
