"""`GET /v1/commands/{id}`: what became of an order."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from front import examples
from front.answering import answer, described, plain, problems
from front.callers import Reader
from front.doors.orders import opened
from front.outcomes import MAX_WAIT_S
from front.problems import Problem
from front.schemas import CommandView, command_view
from shared.receiving.errors import database_errors
from shared.store import commands

router = APIRouter(prefix="/v1/commands", tags=["channels"])

_UNKNOWN = ("unknown_command", "there is no command with this number", "There is no such thing")
_LARGEST_ID = 2**63 - 1


class CommandQuery(BaseModel):
    """How to look."""

    model_config = ConfigDict(extra="forbid")

    wait: int = Field(0, ge=0, le=MAX_WAIT_S, description="Answer when the outcome is known, or after these seconds")


@router.get(
    "/{command_id}",
    summary="Show what became of a command",
    responses=described("The command", CommandView, examples.DONE) | problems(401, 403, 422, 503, status_404=_UNKNOWN),
)
async def show_command(
    request: Request,
    caller: Reader,
    command_id: Annotated[int, Path(ge=1, le=_LARGEST_ID, examples=[31])],
    query: Annotated[CommandQuery, Query()],
) -> Response:
    """Show a command, if wanted as soon as its outcome is known."""
    with database_errors():
        async with request.app.state.database.connection() as conn:
            command = await commands.get(conn, command_id)
    if command is None:
        raise Problem(404, _UNKNOWN[0], _UNKNOWN[1])
    command = await request.app.state.outcomes.wait(command, query.wait)
    return answer(opened(plain(command_view(command)), caller))
