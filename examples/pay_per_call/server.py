"""An API whose every answer costs: 100 bytes for a word, and nothing for the list of words."""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request

from sluice.fastapi import RESPONSES, PaymentRequired, Payments, Purchase, RemoteReceiver

MEANINGS = {
    "sluice": "an artificial channel for water, with a gate that controls the flow",
    "weir": "a low dam across a river",
    "lock": "a part of a channel between two gates, to lift boats",
}


def price(request: Request) -> int:
    """Say what a word costs; for one that we do not know nobody has to pay."""
    if request.path_params["word"] not in MEANINGS:
        raise HTTPException(404, "we do not know this word")
    return 100


def create(front_url: str | None = None, api_key: str | None = None) -> FastAPI:
    """Make the application."""
    app = FastAPI(title="Words")
    Payments(app, RemoteReceiver(front_url or os.environ["FRONT_URL"], api_key=api_key or os.environ["API_KEY"]))
    app.get("/words")(words)
    app.get("/words/{word}", responses=RESPONSES)(meaning)
    return app


async def words() -> list[str]:
    """List what can be bought."""
    return sorted(MEANINGS)


async def meaning(word: str, purchase: Annotated[Purchase, Depends(PaymentRequired(price))]) -> dict[str, str | int]:
    """Explain a word to whoever has paid."""
    return {"word": word, "meaning": MEANINGS[word], "paid": purchase.amount}
