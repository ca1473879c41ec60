"""The dependency: it lets a request through to its handler when a package that pays the price was credited for it.

    no package, or one that is not credited: 402 with the terms, and nothing was taken
    a package that pays, for the first time: credited, then the handler runs
    the same package with the same request:  the answer that was given, or the handler again if none was kept
    the same package with another request:   409 `package_used`

The package is credited before the handler runs: its work is never done for nothing. So what can be wrong with a request
is best found out before: `price` may be a function of the request, and what it raises costs the payer nothing.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from fastapi import Request, Security
from fastapi.security import APIKeyHeader

from shared.channels.model import is_amount
from shared.logs import get_logger
from shared.receiving.prices import Price
from sluice.fastapi.outcomes import KeptAnswer, Outcome, problem
from sluice.fastapi.purchases import BOUND_HEADERS, Purchase, Wanted
from sluice.fastapi.receivers import NoCredit, ReceiverUnavailableError
from sluice.fastapi.sales import sale_of
from sluice.terms import PAYMENT_HEADER, PROBLEM_TYPE, RECEIPT_HEADER, HeaderError, Terms, decode_package

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from shared.strict_json import JsonValue
    from sluice.fastapi.receivers import Credit, PackageReceiver
    from sluice.fastapi.sales import Sale

    PriceOf: TypeAlias = Callable[[Request], int | Awaitable[int]]

logger = get_logger(__name__)

_HEADER = Security(
    APIKeyHeader(name=PAYMENT_HEADER, auto_error=False, description="A signed payment package, JSON in base64url")
)
_PROBLEM = {PROBLEM_TYPE: {"schema": {"type": "object"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"description": f"`{PAYMENT_HEADER}` is not JSON in base64url", "content": _PROBLEM},
    402: {
        "description": "Nothing was taken. `accepts` has the terms, `code` says what was wrong with the package if"
        " there was one, and `channel` then how the receiver sees the channel",
        "content": _PROBLEM,
    },
    409: {
        "description": f"The package has paid for something else (`package_used`), or its answer was not kept"
        f" (`answer_not_kept`, with `{RECEIPT_HEADER}`)",
        "content": _PROBLEM,
    },
    413: {"description": "The body of a paid request is too large", "content": _PROBLEM},
    503: {"description": "Not now; repeat the same request with the same package", "content": _PROBLEM},
}
"""For a route's `responses`: what it answers besides its own answers."""


class PaymentRequired:
    """A dependency that asks `price` of `asset` for each answer. It gives the handler a `Purchase`.

    `price`: in the asset's smallest unit, or a function of the request that returns it, awaitable or not. It is asked
    before anything is credited, twice for each purchase: whatever it raises is answered and costs nothing.
    `headers`: those that, beside host, path, query and body, decide what is bought. Whatever else the handler looks at
    must be named, or `keep_answer` be True, so that one package never buys two different answers.
    `keep_answer`: whoever repeats a paid request gets the answer that was given (up to some 48 kB; a larger one is not
    kept, and answered with 409). False: the handler runs again, which is right where the same request has the same
    answer, and for streams.
    """

    def __init__(
        self,
        price: int | PriceOf,
        *,
        asset: str = "base",
        headers: Iterable[str] = BOUND_HEADERS,
        keep_answer: bool = True,
    ) -> None:
        if not callable(price):
            _check(price)
        self._price = price
        self._asset = asset
        self._headers = tuple(headers)
        self._keep_answer = keep_answer

    async def __call__(self, request: Request, _package: Annotated[str | None, _HEADER] = None) -> Purchase:
        """Return what was bought; everything else is raised as an Outcome, which `Payments` answers with."""
        sale = sale_of(request.scope)
        price = Price(self._asset, await self._price_of(request))
        values = request.headers.getlist(PAYMENT_HEADER)
        try:
            if not values:
                raise await self._unpaid(
                    sale.receiver, price, "payment_required", "an answer costs the price in accepts"
                )
            return await self._buy(request, sale, price, values)
        except ReceiverUnavailableError as error:
            logger.warning("receiver_unavailable", reason=str(error))
            text = "payments cannot be taken now; repeat the same request with the same package"
            raise problem(503, "receiver_unavailable", text, retry_after_s=error.retry_after_s) from error

    async def _buy(self, request: Request, sale: Sale, price: Price, values: list[str]) -> Purchase:
        if len(values) > 1:
            raise problem(400, "invalid_payment_header", f"{PAYMENT_HEADER} should come once")
        try:
            package = decode_package(values[0])
        except HeaderError as error:
            raise problem(400, "invalid_payment_header", str(error)) from None
        wanted = Wanted.of(request.scope, self._headers, await sale.body_digest(request))
        secret = sale.receiver.secret
        outcome = await sale.receiver.credit(package, wanted.message(secret, package), price)
        if isinstance(outcome, NoCredit):
            raise await self._unpaid(sale.receiver, price, outcome.code, outcome.text, outcome.channel)
        receipt = outcome.receipt
        if receipt.duplicate and not wanted.is_bought(secret, package, outcome.message):
            raise problem(409, "package_used", "this package has paid for something else")
        if outcome.answer is not None:
            raise _given_before(outcome)
        purchase = Purchase(
            payment_id=receipt.payment_id,
            amount=receipt.amount,
            asset=receipt.asset,
            aa_address=receipt.aa_address,
            receipt=receipt,
            is_repeat=receipt.duplicate,
        )
        sale.sold(purchase, keep_answer=self._keep_answer)
        return purchase

    async def _price_of(self, request: Request) -> int:
        if not callable(self._price):
            return self._price
        price = self._price(request)
        return _check(await price if inspect.isawaitable(price) else price)

    async def _unpaid(
        self, receiver: PackageReceiver, price: Price, code: str, text: str, channel: JsonValue = None
    ) -> Outcome:
        found = await receiver.terms()
        terms = Terms(
            network=found.network,
            asset=price.asset,
            amount=price.amount,
            receiver=found.receiver,
            url=found.url,
            agent_versions=found.agent_versions,
            min_timeout_s=found.min_timeout_s,
            max_timeout_s=found.max_timeout_s,
        )
        view = {} if channel is None else {"channel": channel}
        return problem(402, code, text, members={"accepts": [terms.as_json()], **view})


def _given_before(credit: Credit) -> Outcome:
    answer = KeptAnswer.decoded(credit.answer)
    if answer is None:
        text = "this request was paid for and answered; the answer was too large to be kept"
        return problem(409, "answer_not_kept", text, receipt=credit.receipt)
    return Outcome(answer.response(credit.receipt))


def _check(price: int) -> int:
    if not is_amount(price):
        raise ValueError("a price must be a positive integer, in the asset's smallest unit")
    return price
