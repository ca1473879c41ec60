"""What the application says to a payment: once per payment, kept, and given again to whoever repeats the package.

The payment is committed before the application is asked. If the application fails, the payer still gets his receipt,
and asks again by repeating the package: money that was taken is never reported as not taken.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from shared.logs import get_logger
from shared.store import payments
from shared.store.errors import StoreError

if TYPE_CHECKING:
    from shared.receiving.outcomes import Receipt
    from shared.store.database import Database
    from shared.strict_json import JsonValue

logger = get_logger(__name__)

ANSWER_TIMEOUT_S = 8.0
MAX_ANSWER_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class ReceivedPayment:
    """A committed payment, as the application sees it. `amount` is in the asset's smallest unit.

    An application may be asked about the same `payment_id` again when its first answer was lost.
    """

    payment_id: int
    amount: int
    asset: str
    aa_address: str
    period: int
    amount_spent: int
    payer_address: str
    message: JsonValue = field(default=None, repr=False)


OnPayment: TypeAlias = Callable[[ReceivedPayment], Any]
"""The application: returns JSON, or an awaitable of JSON. A plain function runs in a thread."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the payer is told besides the receipt. `code` is `application_failed` when the application had no answer."""

    response: JsonValue = field(repr=False)
    code: str | None = None


class NoAnswerError(Exception):
    """The application has no answer now. `was_asked` is False when it was spared the question."""

    def __init__(self, code: str, text: str, *, was_asked: bool = True) -> None:
        super().__init__(text)
        self.code = code
        self.was_asked = was_asked


class Answers:
    """Asks the application about payments, each one at a time."""

    def __init__(
        self, database: Database, on_payment: OnPayment | None = None, *, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> None:
        self._database = database
        self._on_payment = on_payment
        self._timeout_s = timeout_s
        self._asking: dict[int, asyncio.Task[Answer]] = {}

    async def answer(self, receipt: Receipt, payer_address: str, *, within_s: float = ANSWER_TIMEOUT_S) -> Answer:
        """Return the application's answer to a payment: the one it gave first, if it gave one. Never raises.

        One that comes later than `within_s` is kept for whoever repeats the package.
        """
        if receipt.response is not None:
            return Answer(json.loads(receipt.response))
        if self._on_payment is None:
            return Answer(default_text(receipt.amount, receipt.asset))
        task = self._asking.get(receipt.payment_id)
        if task is None:
            # A task of its own: a payer who hangs up must not interrupt the application in the middle of its work.
            task = asyncio.create_task(self._ask(self._on_payment, receipt, payer_address))
            self._asking[receipt.payment_id] = task
            task.add_done_callback(lambda _: self._asking.pop(receipt.payment_id, None))
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.shield(task)
        except TimeoutError:
            logger.info("answer_comes_later", payment_id=receipt.payment_id)
            return _failed(receipt)

    async def close(self) -> None:
        """Let the application finish what it was asked."""
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _ask(self, on_payment: OnPayment, receipt: Receipt, payer_address: str) -> Answer:
        payment = ReceivedPayment(
            payment_id=receipt.payment_id,
            amount=receipt.amount,
            asset=receipt.asset,
            aa_address=receipt.aa_address,
            period=receipt.period,
            amount_spent=receipt.amount_spent,
            payer_address=payer_address,
            message=None if receipt.message is None else json.loads(receipt.message),
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                said = await _call(on_payment, payment)
            text = _encoded(said)
        except NoAnswerError as error:
            # One line when it goes away says more than one for each payer who is told so.
            log = logger.warning if error.was_asked else logger.debug
            log("application_failed", payment_id=receipt.payment_id, code=error.code, reason=str(error))
        except Exception:
            logger.exception("application_failed", payment_id=receipt.payment_id)
        else:
            return Answer(json.loads(await self._keep(receipt.payment_id, text)))
        return _failed(receipt)

    async def _keep(self, payment_id: int, text: str) -> str:
        """Store the answer; return the one that counts, another front's if that was first."""
        try:
            async with self._database.connection() as conn:
                return await payments.keep_response(conn, payment_id, text) or text
        except StoreError as error:
            logger.warning("answer_not_kept", payment_id=payment_id, error=str(error))
            return text


async def _call(on_payment: OnPayment, payment: ReceivedPayment) -> JsonValue:
    if inspect.iscoroutinefunction(on_payment):
        said = on_payment(payment)
    else:
        said = await asyncio.to_thread(on_payment, payment)
    if inspect.isawaitable(said):
        said = await said
    return cast("JsonValue", said)


def _encoded(said: JsonValue) -> str:
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    if len(text.encode()) > MAX_ANSWER_BYTES:
        raise ValueError(f"the application's answer is larger than {MAX_ANSWER_BYTES} bytes")
    return text


def _failed(receipt: Receipt) -> Answer:
    return Answer(default_text(receipt.amount, receipt.asset), code="application_failed")


def default_text(amount: int, asset: str) -> str:
    """Return what a payer is told when nobody says anything else."""
    return f"received payment for {amount} {asset}"
