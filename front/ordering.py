"""Orders to the worker, from any door of the front: a command row, the doorbell, and a bounded wait for the outcome.

With an Idempotency-Key the answer is kept for a day and given again to the same request:

    nothing on record          the command and the record of the request are written in one transaction
    same key, other request    422
    answered                   the same answer
    somebody waits for it      409; he will answer within seconds
    nobody answered (a crash)  whoever asks goes on in his place; the command is the same one

The command itself is idempotent for good: it carries a key made of the caller's, and is kept.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from front.problems import Problem
from shared.bus import COMMAND
from shared.receiving.errors import LimitedError, database_errors
from shared.store import api_keys, channels, commands, kept_answers
from shared.store.errors import IdempotencyConflictError
from shared.store.kept_answers import RequestKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from front.authentication import Caller
    from front.outcomes import Outcomes
    from shared.bus import Bus
    from shared.orders import Order
    from shared.store.commands import Command
    from shared.store.database import Connection, Database
    from shared.store.kept_answers import Kept

_GRACE_S = 5.0
"""How much longer than it waits a front may take to answer, before another goes on in its place."""

Answer = tuple[int, dict[str, Any]]
"""Status and body of what is told to whoever ordered."""


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody orders. `what`: method and path; `body`: as he sent it; `key`: his Idempotency-Key."""

    caller: Caller
    what: str
    body: Any
    key: str | None

    @property
    def request_key(self) -> RequestKey | None:
        """What the answer is kept under; None when nothing is kept."""
        if self.key is None:
            return None
        text = json.dumps([self.what, self.body], separators=(",", ":"), sort_keys=True)
        return RequestKey(self.caller.key_id, self.key, hashlib.sha256(text.encode()).digest())

    @property
    def command_key(self) -> str:
        """What makes the command one and the same, for good."""
        if self.key is None:
            return f"rest:{uuid.uuid4()}"
        digest = hashlib.sha256(self.key.encode()).hexdigest()
        return f"rest:{self.caller.key_id}:{digest}"


@dataclass(frozen=True, slots=True)
class Ordered:
    """The answer to an order. `is_replayed`: it was given before."""

    answer: Answer
    command_id: int
    is_replayed: bool = False


class Orders:
    """Takes orders for the worker. `answer_of` makes what is told of a command, and kept."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        outcomes: Outcomes,
        answer_of: Callable[[Command], Answer],
        *,
        max_unfinished: int = 0,
    ) -> None:
        """`max_unfinished`: orders of one API key that the worker has not finished; 0: any number."""
        self._database = database
        self._bus = bus
        self._outcomes = outcomes
        self._answer_of = answer_of
        self._max_unfinished = max_unfinished

    async def place(
        self,
        request: Request,
        order: type[Order],
        params: Mapping[str, Any],
        *,
        aa_address: str | None = None,
        wait_s: float = 0.0,
    ) -> Ordered:
        """Order something once and answer with what is known of it after at most `wait_s` seconds.

        Raises Problem (401, 404, 409, 422), LimitedError and UnavailableError.
        """
        key = request.request_key
        with database_errors():
            async with self._database.transaction() as conn:
                kept = None if key is None else await kept_answers.find(conn, key)
                if key is None:
                    command = await self._queue(conn, request, order, params, aa_address)
                elif kept is None:
                    command = await self._queue(conn, request, order, params, aa_address)
                    kept = await self._record(conn, key, command, wait_s)
                if key is not None and kept is not None:
                    if kept.request_hash != key.request_hash or kept.command_id is None:
                        raise key_reused()
                    if kept.status is not None and kept.body is not None:
                        return Ordered((kept.status, kept.body), kept.command_id, is_replayed=True)
                    command = await self._go_on(conn, key, kept, kept.command_id, wait_s)
        self._bus.publish(COMMAND, {"id": command.id})
        answer = self._answer_of(await self._outcomes.wait(command, wait_s))
        if key is not None and (wait_s > 0 or kept is not None):
            with database_errors():
                async with self._database.connection() as conn:
                    await kept_answers.keep(conn, key, *answer)
        return Ordered(answer, command.id)

    async def _queue(
        self, conn: Connection, request: Request, order: type[Order], params: Mapping[str, Any], aa_address: str | None
    ) -> Command:
        caller = request.caller
        if caller.needs_key:
            await self._admit(conn, caller, request.command_key)
        if aa_address is not None and not await channels.find(conn, [aa_address]):
            raise unknown_channel()
        try:
            return await commands.insert(
                conn,
                order.kind,
                params,
                idempotency_key=request.command_key,
                aa_address=aa_address,
                api_key_id=caller.key_id if caller.needs_key else None,
            )
        except IdempotencyConflictError:
            raise key_reused() from None

    async def _admit(self, conn: Connection, caller: Caller, command_key: str) -> None:
        """Let no order in after its key was revoked, and not too many of one key. Raises Problem 401, LimitedError."""
        if not await api_keys.hold(conn, caller.key_id):
            raise Problem(401, "unauthorized", "the API key was revoked or has expired")
        most = self._max_unfinished
        if most and not await commands.has_room(conn, caller.key_id, most, idempotency_key=command_key):
            text = f"this API key has {most} orders that are not finished: wait for some of them"
            raise LimitedError("too_many_commands", text, wait_s=1)

    async def _record(self, conn: Connection, key: RequestKey, command: Command, wait_s: float) -> Kept | None:
        """Put the request on record; return what another front has recorded at this very moment."""
        answer = None if wait_s > 0 else self._answer_of(command)
        if await kept_answers.add(conn, key, command.id, answer=answer, waits_s=wait_s + _GRACE_S):
            return None
        return await kept_answers.find(conn, key)

    @staticmethod
    async def _go_on(conn: Connection, key: RequestKey, kept: Kept, command_id: int, wait_s: float) -> Command:
        """Answer in place of a front that never did; return the command as it stands."""
        if kept.is_in_flight or not await kept_answers.take_over(conn, key, wait_s + _GRACE_S):
            text = "a request with this Idempotency-Key is being answered"
            raise Problem(409, "request_in_flight", text, headers={"retry-after": "1"})
        [command] = await commands.find(conn, [command_id])
        return command


def unknown_channel() -> Problem:
    """Return the 404 for a channel that we do not have."""
    return Problem(404, "unknown_channel", "there is no channel with this address")


def key_reused() -> Problem:
    """Return the 422 for a key under which something else was asked for."""
    return Problem(422, "idempotency_key_reused", "the Idempotency-Key was used for another request")
