"""A ticket office with a server of its own, in any language: Sluice asks it over HTTP what to answer to a payment.

A question may come twice: the first answer was late or got lost. It has the same `webhook-id` then, and gets the same
ticket. The signature tells that it is Sluice who asks; anybody else could have a ticket for nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from standardwebhooks import Webhook, WebhookVerificationError

PRICE = 100


class Office:
    """Tickets by the question's id, in memory; a real one keeps them in its database with the id as a unique key."""

    def __init__(self, secret: str) -> None:
        self._webhook = Webhook(secret)
        self.tickets: dict[str, int] = {}

    async def answer(self, request: Request) -> dict[str, Any]:
        """Answer a question about a payment; what is returned goes to the payer."""
        try:
            question = self._webhook.verify(await request.body(), dict(request.headers))
        except WebhookVerificationError:
            raise HTTPException(401, "this was not signed by our Sluice, or long ago") from None
        payment = question["data"]
        if payment["asset"] != "base" or payment["amount"] < PRICE:
            return {"error": f"a ticket costs {PRICE}", "paid": payment["amount"]}
        ticket = self.tickets.setdefault(request.headers["webhook-id"], len(self.tickets) + 1)
        return {"ticket": ticket}


def create(secret: str | None = None) -> FastAPI:
    """Make the application; the secret is the one that Sluice has in `SLUICE_ANSWER_SECRET_FILE`."""
    office = Office(secret or Path(os.environ["SLUICE_ANSWER_SECRET_FILE"]).read_text().strip())
    app = FastAPI(title="Tickets")
    app.state.office = office
    app.post("/answer")(office.answer)
    return app
