"""Probes: `/healthz` tells that the process lives, `/readyz` whether a balancer should send it payments."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from front.problems import NO_STORE
from shared.obyte.networks import network_named
from shared.receiving.acceptance import AcceptanceRules
from shared.receiving.opening import is_on
from shared.settings import Settings
from shared.store import instance
from shared.store.database import Database
from shared.store.errors import StoreError
from shared.store.migrations import schema_is_usable

router = APIRouter(tags=["probes"])


@router.get("/healthz", summary="The process is alive")
async def healthz() -> Response:
    """Answer without looking at anything: a restart cures nothing else."""
    return JSONResponse({"status": "alive"}, headers=NO_STORE)


@router.get(
    "/readyz", summary="Payments can be taken", responses={503: {"description": "They cannot, `reasons` says why"}}
)
async def readyz(request: Request) -> Response:
    """Check the database, its schema, the receiver's identity and the watcher; a front that leaves is not ready."""
    state = request.app.state
    leaves = state.draining.is_announced
    reasons = ["draining"] if leaves else await _reasons(state.database, state.settings)
    body = {"status": "not ready" if reasons else "ready", "reasons": reasons}
    return JSONResponse(body, 503 if reasons else 200, headers=NO_STORE)


async def _reasons(database: Database, settings: Settings) -> list[str]:
    """Return what stands in the way, as stable codes."""
    try:
        async with database.connection() as conn:
            if not await schema_is_usable(conn):
                return ["schema_not_usable"]
            here = await instance.read(conn)
    except StoreError:
        return ["database_unavailable"]
    if here is None:
        return ["not_initialized"]
    if not is_on(here.network, network_named(settings.network)):
        return ["wrong_network"]
    if AcceptanceRules.of(settings).is_silent(here.watcher_age_s):
        return ["watcher_silent"]
    return []
