"""The design that Sluice is not: each request verifies its package, locks its channel, writes and commits by itself.

The same checks, the same rule and the same rows as the front's, through the same pool, on FastAPI: as one would write
it first. Commits of several requests are under way at the same time, as many as the pool has connections.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request

from shared.channels.acceptance import Accepted, accept
from shared.channels.model import Allowance
from shared.obyte.networks import network_named
from shared.receiving.verification import verify_payment_package
from shared.settings import load_settings
from shared.store import channels, payments
from shared.store.database import Database, Limits, Role
from shared.store.payments import NewPayment
from shared.strict_json import decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECTIONS = 16
_NO_ALLOWANCE = Allowance()
_PATIENCE = Limits(acquire_s=60.0, statement_s=60.0, lock_s=60.0)
"""Connections are waited for as long as it takes: with hundreds of requests for 16 of them that is their queue."""


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings = load_settings()
    app.state.network = network_named(settings.network)
    app.state.database = await Database.connect(
        settings.database_dsn,
        role=Role.FRONT,
        application_name="sluice-bench",
        max_connections=CONNECTIONS,
        limits=_PATIENCE,
    )
    yield
    await app.state.database.close()


app = FastAPI(openapi_url=None, lifespan=_lifespan)


@app.post("/post", response_model=None)
async def post(request: Request) -> dict[str, str]:
    """Take one payment."""
    asked: Any = decode(await request.body())
    payment = verify_payment_package(asked["params"]["signed_package"], request.app.state.network)
    terms = payment.terms
    async with request.app.state.database.transaction() as conn:
        locked = await channels.lock(conn, [terms.aa_address])
        channel = locked[terms.aa_address].channel
        verdict = accept(channel, terms, payment.text, _NO_ALLOWANCE)
        if not isinstance(verdict, Accepted):
            return {"error": verdict.reason}
        after = replace(verdict.channel, claim=payment.text if verdict.is_new_claim else None)
        new = NewPayment(terms.aa_address, terms.period, terms.amount_spent, terms.payment_amount)
        await payments.record_batch(conn, [after], [new])
    return {"response": f"received payment for {terms.payment_amount} {channel.asset}"}
