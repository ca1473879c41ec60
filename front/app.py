"""The front: a stateless HTTP application. It holds no key, never talks to a ledger, and needs only Postgres."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.routing import WebSocketRoute

from front import answering, problems
from front.doors import (
    channels,
    commands,
    docs,
    events,
    health,
    kept_answers,
    orders,
    packages,
    payments,
    peer,
    requests,
    rpc,
    terms,
    webhook_deliveries,
    webhooks,
)
from front.draining import Draining
from front.gate import Gate
from front.history import History
from front.ordering import Orders
from front.outcomes import Outcomes
from front.pages import routes as pages
from front.pages.live import Watching
from front.rpc.core import Rpc
from front.rpc.local import LocalDoor
from front.rpc.methods import METHODS
from front.rpc.reader_key import read_or_make
from front.rpc.sockets import Places
from shared.bus import Bus
from shared.events.feed import Feed
from shared.receiving.answers_over_http import AnswersOverHttp, answer_server
from shared.receiving.receiver import Receiver
from shared.settings import Settings, SettingsError, load_settings
from shared.store.database import Database, Limits, Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.receiving.answers import OnPayment

MAX_CONNECTIONS = 8
MAX_STANDBY_CONNECTIONS = 4
LIMITS = Limits(acquire_s=3.0, lock_s=1.0)
"""A peer hangs up after ten seconds: better to tell him to come back than to keep him waiting."""


def create_app(
    settings: Settings | None = None, *, on_payment: OnPayment | None = None, local_rpc_port: int | None = None
) -> FastAPI:
    """Make the application; without settings they are read from the environment.

    `local_rpc_port`: what comes to this port on loopback is JSON-RPC without a key (`front.rpc.local`).
    `on_payment`: what the application says to a payment (`shared.receiving.answers`). Nothing is connected before the
    server starts it, and it starts without a database too: `/readyz` then says so. Raises SettingsError, also when two
    applications would answer: `on_payment` and the one at `SLUICE_ANSWER_URL`.
    """
    settings = settings or load_settings()
    asked = answer_server(settings)
    if asked is not None and on_payment is not None:
        raise SettingsError(["SLUICE_ANSWER_URL: must not be set where the application answers by on_payment"])

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        redis_url = settings.redis_url
        bus = Bus(None if redis_url is None else redis_url.get_secret_value())
        database = await Database.connect(
            settings.database_dsn,
            role=Role.FRONT,
            max_connections=MAX_CONNECTIONS,
            limits=LIMITS,
            behind_transaction_pooler=settings.database_pooler,
        )
        gate = Gate(settings, database)
        over_http = None if asked is None else AnswersOverHttp(asked)
        receiver = Receiver(
            database, settings, bus, on_payment if over_http is None else over_http.ask, gate.payment_limits
        )
        outcomes = Outcomes(database, bus)
        app.state.settings = settings
        app.state.database = database
        app.state.history = history = await _history(settings, database)
        app.state.receiver = receiver
        app.state.feed = Feed(database, bus)
        app.state.pages = Watching(database, app.state.feed)
        app.state.outcomes = outcomes
        app.state.orders = Orders(
            database, bus, outcomes, orders.answer_of, max_unfinished=settings.max_unfinished_commands_per_key
        )
        app.state.rpc = Rpc(METHODS, database, receiver, app.state.orders, outcomes)
        app.state.rpc_places = Places()
        app.state.statements = payments.statements()
        gate.open(app.state)
        try:
            yield
        finally:
            await gate.close()
            await app.state.pages.close()
            await app.state.feed.close()
            await outcomes.close()
            await receiver.close()
            if over_http is not None:
                await over_http.close()
            await bus.close()
            await history.close()
            await database.close()

    app = FastAPI(
        title="Sluice",
        summary="A receiver for off-chain payments",
        version="0.1.0",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # see front.doors.docs
        redoc_url=None,
    )
    app.state.draining = Draining()
    app.state.local_rpc_port = local_rpc_port
    _install_doors(app)
    if local_rpc_port is not None:
        app.add_middleware(LocalDoor, port=local_rpc_port, secret=read_or_make(settings.home))
    return app


async def _history(settings: Settings, primary: Database) -> History:
    """Return who reads what is past, from the stand-by that the settings name."""
    standby = None
    if settings.read_dsn is not None:
        standby = await Database.connect(
            settings.read_dsn,
            role=Role.FRONT,
            application_name="sluice-front-history",
            max_connections=MAX_STANDBY_CONNECTIONS,
            limits=LIMITS,
            for_reading=True,
        )
    return History(primary, standby, max_lag_s=settings.database_read_max_lag_s)


def _install_doors(app: FastAPI) -> None:
    """Add every door, and what describes them."""
    problems.install(app)
    app.add_route(peer.PATH, peer.post, methods=["POST"], include_in_schema=False)
    app.add_route(rpc.PATH, rpc.post, methods=["POST"], include_in_schema=False)
    app.router.routes.append(WebSocketRoute(rpc.PATH, rpc.talk))
    app.include_router(terms.router)
    doors = (
        *(channels, orders, commands, packages, payments, kept_answers),
        *(events, requests, webhooks, webhook_deliveries),
    )
    described = [door.router for door in doors]
    for router in described:
        app.include_router(router)
    pages.install(app)
    app.include_router(health.router)
    docs.install(app)
    answering.install(app, *described)
    _describe(app, peer.PATH, peer.DESCRIPTION)
    _describe(app, rpc.PATH, rpc.DESCRIPTION)


def _describe(app: FastAPI, path: str, description: dict[str, Any]) -> None:
    """Put a plain route into the OpenAPI document."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        document["paths"].setdefault(path, description)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the way the framework documents
