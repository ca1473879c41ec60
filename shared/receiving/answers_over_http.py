"""The synchronous webhook: an application with an address of its own is asked what to answer to a payment.

    POST SLUICE_ANSWER_URL, signed after Standard Webhooks, `webhook-id: payment_12` on every attempt
    {"type": "answer_wanted", "data": {"payment_id": 12, "amount": 10, …, "message": …}}

It has a short time to say something: a status 2xx with JSON, which the payer gets as it is, or 204 for the default
text. All else is no answer: the payment stays credited, the payer has his receipt, and asks again by repeating his
package. When the application is away, payers are told so at once instead of waiting for it one after the other.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.receiving.answers import MAX_ANSWER_BYTES, NoAnswerError, default_text
from shared.settings import SettingsError, variable_of
from shared.strict_json import JsonValue, StrictJsonError, decode
from shared.webhooks.addresses import AddressGuard
from shared.webhooks.calling import Caller, Limits
from shared.webhooks.circuit import Circuit
from shared.webhooks.errors import CallError, InvalidUrlError, SecretError
from shared.webhooks.signing import Secret, read_secret, signed_headers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shared.receiving.answers import ReceivedPayment
    from shared.settings import Settings
    from shared.webhooks.addresses import Resolve, Target

logger = get_logger(__name__)

MAX_ASKED = 32
"""Questions that are with the application at the same time, of one process."""
MAX_WAITING = 256
"""Questions that wait for their turn; more payers are told at once that there is no answer now."""
LEAST_SHARE = 0.1
"""A question whose turn comes when less of the time limit is left is not asked: nobody would hear the answer."""
BUSY_TOLD_EVERY_S = 10.0
MAX_SECRETS = 4
MAX_SECRET_FILE_BYTES = 4_096
_NO_CONTENT = 204


@dataclass(frozen=True, slots=True)
class AnswerServer:
    """Where the application is asked, and how long for."""

    target: Target
    guard: AddressGuard
    secrets: tuple[Secret, ...] = field(repr=False)
    timeout_s: float


def answer_server(settings: Settings, resolve: Resolve | None = None) -> AnswerServer | None:
    """Return what the settings say about the application; None if nobody is asked. Raises SettingsError."""
    if settings.answer_url is None:
        return None
    guard = AddressGuard(settings.webhook_allowed_networks, resolve)
    try:
        target = guard.read(settings.answer_url)
    except InvalidUrlError as error:
        raise SettingsError([f"{variable_of('answer_url')}: {error}"]) from None
    return AnswerServer(target, guard, _secrets(settings.answer_secret_file), settings.answer_timeout_s)


class AnswersOverHttp:
    """Asks the application; `ask` is an `OnPayment`. To be closed. `clock`: seconds since 1970."""

    def __init__(
        self,
        server: AnswerServer,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        max_asked: int = MAX_ASKED,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._server = server
        self._clock = clock
        self._caller = Caller(server.guard, max_connections=max_asked)
        self._turns = asyncio.Semaphore(max_asked)
        self._max_waiting = max_waiting
        self._waiting = 0
        self._monotonic = monotonic
        self._busy_told_until_s = -math.inf
        self._circuit = Circuit(monotonic)

    async def close(self) -> None:
        """Close the connections to the application."""
        await self._caller.close()

    async def ask(self, payment: ReceivedPayment) -> JsonValue:
        """Return the application's answer to a payment. Raises NoAnswerError within the time limit."""
        if self._circuit.is_open:
            raise _away()
        if self._waiting >= self._max_waiting:
            raise self._busy()
        ends_at_s = asyncio.get_running_loop().time() + self._server.timeout_s
        await self._wait_for_turn(ends_at_s)
        try:
            left_s = ends_at_s - asyncio.get_running_loop().time()
            if left_s < LEAST_SHARE * self._server.timeout_s:
                raise self._busy()
            if not self._circuit.admits():
                raise _away()
            return await self._ask(payment, left_s)
        finally:
            self._turns.release()

    async def _wait_for_turn(self, ends_at_s: float) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout_at(ends_at_s):
                await self._turns.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self._waiting -= 1

    def _busy(self) -> NoAnswerError:
        now_s = self._monotonic()
        if now_s >= self._busy_told_until_s:
            self._busy_told_until_s = now_s + BUSY_TOLD_EVERY_S
            logger.warning("application_busy", waiting=self._waiting)
        return NoAnswerError("too_many_questions", "the application has too many questions to answer", was_asked=False)

    async def _ask(self, payment: ReceivedPayment, left_s: float) -> JsonValue:
        server = self._server
        body = json.dumps({"type": "answer_wanted", "data": asdict(payment)}, separators=(",", ":")).encode()
        headers = {"content-type": "application/json", "accept": "application/json"}
        headers |= signed_headers(server.secrets, f"payment_{payment.payment_id}", int(self._clock()), body)
        limits = Limits(connect_s=left_s, read_s=left_s, total_s=left_s, max_bytes=MAX_ANSWER_BYTES)
        try:
            reply = await self._caller.post(server.target, body, headers, limits)
        except CallError as error:
            if self._circuit.failed():
                logger.warning("application_away", code=error.code, reason=str(error))
            raise NoAnswerError(error.code, str(error)) from None
        if self._circuit.answered():
            logger.info("application_back")
        if not reply.is_success:
            raise NoAnswerError("bad_status", f"the application answered with status {reply.status}")
        if reply.status == _NO_CONTENT:
            return default_text(payment.amount, payment.asset)
        if reply.is_cut:
            raise NoAnswerError("answer_too_large", f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        try:
            return decode(reply.body)
        except StrictJsonError as error:
            raise NoAnswerError("bad_answer", f"the answer is not what every reader of JSON takes: {error}") from None


def _away() -> NoAnswerError:
    return NoAnswerError("application_away", "the application has not answered for a while", was_asked=False)


def _secrets(file: Path) -> tuple[Secret, ...]:
    try:
        with file.open("rb") as opened:
            lines = opened.read(MAX_SECRET_FILE_BYTES).decode().split()
    except OSError as error:
        raise _secret_fault(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _secret_fault(f"{file} must be text") from None
    if not 0 < len(lines) <= MAX_SECRETS:
        raise _secret_fault(f"{file} must hold 1 to {MAX_SECRETS} lines")
    try:
        return tuple(map(read_secret, lines))
    except SecretError as error:
        raise _secret_fault(f"{file}: each line {error}") from None


def _secret_fault(fault: str) -> SettingsError:
    return SettingsError([f"{variable_of('answer_secret_file')}: {fault}"])
