"""What both doors call: methods by name, orders to the worker, and a bounded wait for what becomes of them.

A call that moves money is a command of the worker, as everywhere else. With a key it is one and the same command for
good: the command itself is the record, and answers whoever asks again with its outcome. A call whose outcome is not
known in time is answered with the command's number; the order goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from front.doors.orders import answer_of, opened, reader_of
from front.ordering import Request
from front.outcomes import POLL_S
from front.problems import Problem
from front.rpc import wording
from front.rpc.errors import (
    FAILED,
    IN_PROGRESS,
    INVALID_PARAMS,
    INVALID_REQUEST,
    NOT_NOW,
    UNKNOWN_METHOD,
    RpcError,
    rpc_error_of,
)
from front.rpc.shapes import Outcome, plain_number, result_of
from shared.logs import get_logger
from shared.orders import OrderError, read_order
from shared.receiving.errors import ReceivingError, UnavailableError, database_errors
from shared.store import commands
from shared.store.api_keys import Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from front.authentication import Caller
    from front.ordering import Orders
    from front.outcomes import Outcomes
    from front.rpc.shapes import Asked
    from shared.orders import Order
    from shared.receiving.receiver import Receiver
    from shared.store.database import Database
    from shared.strict_json import JsonValue

logger = get_logger(__name__)

WAIT_S = 30.0
"""How long an outcome is waited for. A front that stops waits no more."""
STEP_S = 1.0
MAX_CALLS = 200
"""Calls at the same time in one process."""
LOCAL_KEY_ID = 0
"""Stands for whoever calls on loopback, without a key of the database."""
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class Method:
    """A method: what carries it out, the names of its parameters, and which scopes of a key allow it."""

    run: Callable[..., Awaitable[list[Any]]]
    parameters: tuple[str, ...]
    scopes: tuple[Scope, ...]
    optional: int = 0
    """How many parameters at the end may be left out."""
    takes_object: bool = False
    """Its only argument is an object."""


@dataclass(frozen=True, slots=True)
class RpcRequest(Request):
    """An order by a call. The command is the only record of it, so it is the same for good."""

    @property
    def request_key(self) -> None:
        """No answer is kept beside the command."""
        return

    @property
    def command_key(self) -> str:
        """What makes the command one and the same."""
        who = str(self.caller.key_id)
        if self.caller.key_id == LOCAL_KEY_ID:
            # Each machine's door on loopback is a caller of its own.
            who = "local-" + hashlib.sha256(reader_of(self.caller).public_key.encode()).hexdigest()[:16]
        what = uuid.uuid4().hex if self.key is None else hashlib.sha256(self.key.encode()).hexdigest()
        return f"rpc:{who}:{what}"


@dataclass(frozen=True, slots=True)
class Call:
    """One call under way: who calls, and with which key."""

    rpc: Rpc
    caller: Caller
    key: str | None

    async def order(
        self, order: type[Order], params: Mapping[str, Any], aa_address: str | None = None
    ) -> dict[str, Any]:
        """Order something and return the result of the command. Raises RpcError."""
        return await self.rpc.order(self, order, params, aa_address)


class Rpc:
    """The methods, and what they need."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        database: Database,
        receiver: Receiver,
        orders: Orders,
        outcomes: Outcomes,
        *,
        wait_s: float = WAIT_S,
    ) -> None:
        self.methods = methods
        self.database = database
        self.receiver = receiver
        self._orders = orders
        self._outcomes = outcomes
        self._wait_s = wait_s
        self._calls = 0
        self._is_ended = False

    def end(self) -> None:
        """Wait for outcomes no more: the process stops."""
        self._is_ended = True

    async def call(
        self, asked: Asked, arguments: Callable[[Method], list[JsonValue]], permit: Callable[..., Awaitable[Caller]]
    ) -> Outcome:
        """Carry out a call. `permit(*scopes)` returns who calls, or raises Problem or UnavailableError."""
        try:
            return Outcome(result_of(await self._call(asked, arguments, permit)))
        except RpcError as error:
            return Outcome(error=error)
        except (Problem, ReceivingError) as error:
            return Outcome(error=rpc_error_of(error))
        except Exception as error:
            logger.exception("rpc_failed", method=asked.method, exc_info=error)
            return Outcome(error=RpcError(FAILED, "internal error", code="internal_error"))

    async def _call(
        self, asked: Asked, arguments: Callable[[Method], list[JsonValue]], permit: Callable[..., Awaitable[Caller]]
    ) -> list[Any]:
        method = self.methods.get(asked.method)
        caller = await permit(*(Scope if method is None else method.scopes))
        if method is None:
            raise RpcError(UNKNOWN_METHOD, f'Unknown RPC call "{asked.method}"')
        key = _checked_key(asked.key)
        given = [plain_number(argument) for argument in arguments(method)]
        least = len(method.parameters) - method.optional
        if not least <= len(given) <= len(method.parameters):
            raise RpcError(INVALID_PARAMS, f"{asked.method} takes ({', '.join(method.parameters)})", code="bad_params")
        if self._calls >= MAX_CALLS:
            raise RpcError(NOT_NOW, "too many calls are under way here", code="overloaded", retry_after_s=1)
        self._calls += 1
        try:
            return await method.run(Call(self, caller, key), *given)
        finally:
            self._calls -= 1

    # ------------------------------------------------------------------------------------------------------- orders

    async def order(
        self, call: Call, order: type[Order], params: Mapping[str, Any], aa_address: str | None
    ) -> dict[str, Any]:
        """Order something once, and return the result of the command when it has succeeded. Raises RpcError."""
        try:
            read_order(order, params)
        except OrderError as error:
            raise RpcError(INVALID_PARAMS, str(error), code=error.code) from None
        request = RpcRequest(call.caller, order.kind, dict(params), call.key)
        try:
            ordered = await self._orders.place(request, order, params, aa_address=aa_address)
        except Problem as problem:
            if problem.code == "unknown_channel":
                raise RpcError(FAILED, wording.UNKNOWN_CHANNEL[order.kind], code=problem.code) from None
            if problem.code == "idempotency_key_reused":
                raise RpcError(INVALID_REQUEST, problem.text, code=problem.code) from None
            raise
        _, command = ordered.answer
        if command["finished_at"] is None:
            command = await self._outcome(ordered.command_id) or command
        command = opened(command, call.caller)
        if command["error"] is not None:
            raise wording.failure(order.kind, command["error"], command["result"], ordered.command_id)
        if command["finished_at"] is None:
            raise self._in_progress(order.kind, ordered.command_id)
        result: dict[str, Any] = command["result"]
        return result

    async def _outcome(self, command_id: int) -> dict[str, Any] | None:
        """Return the command when its outcome is known, None when it is not in time."""
        deadline_s = asyncio.get_running_loop().time() + self._wait_s
        while not self._is_ended and (left_s := deadline_s - asyncio.get_running_loop().time()) > 0:
            try:
                with database_errors():
                    async with self.database.connection() as conn:
                        command = await commands.get(conn, command_id)
                if command is not None:
                    command = await self._outcomes.wait(command, min(left_s, STEP_S))
                if command is not None and command.finished_at is not None:
                    return answer_of(command)[1]
            except UnavailableError:
                pass  # it stands; what became of it is known when the database is back
            await asyncio.sleep(min(left_s, POLL_S))
        return None

    def _in_progress(self, kind: str, command_id: int) -> RpcError:
        begin = f"{wording.NO_ANSWER} yet" if kind in {"pay", "open"} else "not done yet"
        text = f"{begin}: command {command_id} goes on, see getCommand({command_id})"
        return RpcError(IN_PROGRESS, text, code="in_progress", command_id=command_id)


def _checked_key(key: JsonValue) -> str | None:
    if key is None:
        return None
    if not isinstance(key, str) or _KEY.fullmatch(key) is None:
        text = "the idempotency key must be 1 to 255 printable characters"
        raise RpcError(INVALID_REQUEST, text, code="invalid_idempotency_key")
    return key
