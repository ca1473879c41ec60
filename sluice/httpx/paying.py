"""The transport: it passes requests on, and when a server answers 402 it pays and asks again.

request ──402 with terms──> within the budget? ── a channel ── a package, signed and stored
    └─> the same request with the package ──> the answer, with a receipt
          no answer: the same request with the same package again, which is credited once
          402: not credited, `code` says why:
              the receiver has not seen our deposit yet: the same again, a little later
              the price has risen, or this channel is closing: another package, within the same budget
              the receiver has recorded more than we have: given in to within `Budget.resync`, then another package
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from shared.channels.errors import InsufficientFundsError, NotPayableError
from shared.peers.answers import read_answer
from shared.strict_json import StrictJsonError, decode
from sluice.httpx.budget import Budget, PaymentDeclinedError, Spending, choose
from sluice.httpx.channels import ChannelFinder
from sluice.payer import PaymentRefusedError, PaymentUncertainError
from sluice.payer.peers import RetryPolicy
from sluice.terms import (
    MAX_PROBLEM_BYTES,
    PAYMENT_HEADER,
    PROBLEM_TYPE,
    RECEIPT_HEADER,
    PaidReceipt,
    Terms,
    decode_receipt,
    encode_package,
    read_terms,
)

if TYPE_CHECKING:
    from shared.peers.answers import ChannelView
    from shared.strict_json import JsonValue
    from sluice.payer import Payer, SignedPackage

PAYMENT_ID = "sluice_payment_id"
"""Extension of a request: bring the package of this payment again. Of a response: what paid for it."""
RECEIPT = "sluice_receipt"
MAX_PACKAGES = 3
"""For one request: a first one, and others after a risen price, a closing channel, or getting back in step."""
OPEN_WAIT_S = 900.0
FUNDING_WAIT_S = 30.0
FUNDING_PAUSE_S = 0.5
_PAYMENT_REQUIRED = 402
_CONFLICT = 409
_USED = "package_used"
_OF_TRANSFER = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_LATER = frozenset({502, 503, 504})
_NOT_SEEN_YET = frozenset({"not_funded", "definition_not_published"})
_OTHER_CHANNEL = frozenset(
    {
        "channel_closing",
        "unconfirmed_closing",
        "period_closed_by_me",
        "channel_unsure",
        "exposure_limit",
        "wrong_period",
    }
)


@dataclass(slots=True)
class _Errand:
    """One request that is being paid for."""

    request: httpx.Request
    host: str
    signed: int = 0
    """The sum of all packages signed for it."""
    not_by: set[str] = field(default_factory=set)
    """Channels that the receiver would not take."""


class PayingTransport(httpx.AsyncBaseTransport):
    """Pays 402s of Sluice's scheme. Every other answer, and every other 402, passes as it is.

    Raises, besides what the transport below raises: PaymentDeclinedError (nothing was paid), PaymentRefusedError (the
    receiver would not take a package), PaymentUncertainError (no answer came: send the request again with
    `extensions={"sluice_payment_id": error.payment_id}`, which pays nothing more), and what opening channels raises.
    Bodies of requests are read whole; timeouts of the client count for each exchange, not for opening channels.
    """

    def __init__(
        self,
        payer: Payer,
        budget: Budget,
        *,
        inner: httpx.AsyncBaseTransport | None = None,
        retry: RetryPolicy | None = None,
        open_wait_s: float = OPEN_WAIT_S,
        funding_wait_s: float = FUNDING_WAIT_S,
    ) -> None:
        """`inner` carries the requests. Waits in s: for a deposit to be stable, and for the receiver to see it."""
        self._payer = payer
        self._inner = inner or httpx.AsyncHTTPTransport()
        self._retry = retry or RetryPolicy()
        self._funding_wait_s = funding_wait_s
        self.spending = Spending(budget)
        """What was spent so far."""
        self._channels = ChannelFinder(payer, self.spending, open_wait_s)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and pay for its answer if that is asked for."""
        await request.aread()
        payment_id = request.extensions.get(PAYMENT_ID)
        if payment_id is not None:
            return await self._bring_again(request, await self._payer.package(payment_id))
        response, problem = await _payment_problem(await self._inner.handle_async_request(request))
        if problem is None:
            return response
        return await self._pay(_Errand(request, request.url.host), problem)

    async def aclose(self) -> None:
        """Close the transport below; the payer stays open."""
        await self._inner.aclose()

    async def _bring_again(self, request: httpx.Request, package: SignedPackage) -> httpx.Response:
        response, problem = await self._deliver(request, package)
        if problem is not None:
            raise _refused(problem, package)
        return response

    async def _pay(self, errand: _Errand, problem: dict[str, JsonValue]) -> httpx.Response:
        left = MAX_PACKAGES
        while True:
            left -= 1
            package = await self._sign(errand, _terms(problem, self._payer.network.name, errand.request, self._budget))
            response, refusal = await self._deliver(errand.request, package)
            if refusal is None:
                return response
            if left == 0 or not await self._can_go_on(errand, package, refusal):
                raise _refused(refusal, package)
            problem = refusal if refusal.get("accepts") else problem

    @property
    def _budget(self) -> Budget:
        return self.spending.budget

    async def _sign(self, errand: _Errand, terms: Terms) -> SignedPackage:
        """Sign a package for the terms: counted before, and counted no longer if it was not signed."""
        self.spending.spend(errand.host, terms.amount, for_request=errand.signed)
        try:
            package = await self._find_and_sign(errand, terms)
        except BaseException:
            self.spending.give_back(errand.host, terms.amount)
            raise
        errand.signed += terms.amount
        return package

    async def _find_and_sign(self, errand: _Errand, terms: Terms) -> SignedPackage:
        for _ in range(MAX_PACKAGES):  # others may use the channel up meanwhile
            aa_address = await self._channels.find(terms, terms.amount, without=errand.not_by)
            with contextlib.suppress(InsufficientFundsError, NotPayableError):
                return await self._payer.create_package(aa_address, terms.amount)
        raise PaymentDeclinedError("no_channel", "no channel can pay this now")

    async def _can_go_on(self, errand: _Errand, package: SignedPackage, refusal: dict[str, JsonValue]) -> bool:
        """Do what a refusal calls for; tell whether another package makes sense."""
        code = refusal.get("code")
        if code == "payment_too_small":
            return True
        if code in _OTHER_CHANNEL:
            errand.not_by.add(package.aa_address)
            return True
        view = _view(refusal)
        if code == "over_credit" and view is not None:
            # A record that is lower than ours now needs nothing but another package: the refused one closes the gap.
            await self._payer.resynchronise(package.aa_address, view, at_most=self._budget.resync)
            return self._budget.resync > 0
        return code == _USED and self._budget.resync > 0

    async def _deliver(
        self, request: httpx.Request, package: SignedPackage
    ) -> tuple[httpx.Response, dict[str, JsonValue] | None]:
        """Bring a package until it is answered; return the answer, and the problem if it was not credited."""
        loop = asyncio.get_running_loop()
        funding_until = loop.time() + self._funding_wait_s
        while True:
            response = await self._send(request, package)
            receipt = decode_receipt(response.headers.get(RECEIPT_HEADER, ""))
            if receipt is not None and _is_for(receipt, package):
                await self._payer.note(package.payment_id, accepted=True)
                response.extensions[RECEIPT] = receipt
            response.extensions[PAYMENT_ID] = package.payment_id
            if RECEIPT in response.extensions:
                return response, None
            response, problem = await _payment_problem(response)
            if problem is None:
                return response, None
            code = problem.get("code")
            if code not in _NOT_SEEN_YET or loop.time() + FUNDING_PAUSE_S > funding_until:
                await self._payer.note(package.payment_id, accepted=False, code=str(code))
                return response, problem
            await asyncio.sleep(FUNDING_PAUSE_S)

    async def _send(self, request: httpx.Request, package: SignedPackage) -> httpx.Response:
        """Send the request with the package until it is answered. Raises PaymentUncertainError."""
        attempt = 0
        while True:
            attempt += 1
            try:
                response = await self._inner.handle_async_request(_with_package(request, package))
            except httpx.TransportError as error:
                if attempt >= self._retry.attempts:
                    reason = f"no answer from {request.url.host} ({type(error).__name__})"
                    raise PaymentUncertainError("no_answer", reason, payment_id=package.payment_id) from error
                retry_after_s = None
            else:
                if response.status_code not in _LATER or attempt >= self._retry.attempts:
                    return response
                retry_after_s = _seconds(response.headers.get("retry-after"))
                await response.aclose()
            await asyncio.sleep(self._retry.pause_s(attempt, retry_after_s, 1.0))


def payment_of(response: httpx.Response) -> tuple[int, PaidReceipt | None] | None:
    """Return which payment of ours paid for an answer, with the receipt if there is one; None if it was free."""
    payment_id = response.extensions.get(PAYMENT_ID)
    return None if payment_id is None else (payment_id, response.extensions.get(RECEIPT))


def _with_package(request: httpx.Request, package: SignedPackage) -> httpx.Request:
    headers = httpx.Headers(request.headers)
    headers[PAYMENT_HEADER] = encode_package(package.package)
    return httpx.Request(
        request.method, request.url, headers=headers, stream=request.stream, extensions=dict(request.extensions)
    )


def _terms(problem: dict[str, JsonValue], network: str, request: httpx.Request, budget: Budget) -> Terms:
    return choose(read_terms(problem), budget, network=network, url=request.url)


async def _payment_problem(response: httpx.Response) -> tuple[httpx.Response, dict[str, JsonValue] | None]:
    """Read the problem document of an answer that is about our payment; with None the answer is the caller's."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status_code not in {_PAYMENT_REQUIRED, _CONFLICT} or kind != PROBLEM_TYPE:
        return response, None
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_PROBLEM_BYTES:
            await response.aclose()
            raise PaymentDeclinedError("no_terms", f"the terms are larger than {MAX_PROBLEM_BYTES} bytes")
    await response.aclose()
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in _OF_TRANSFER]
    read = httpx.Response(
        response.status_code, headers=headers, content=bytes(content), extensions=dict(response.extensions)
    )
    try:
        problem = decode(bytes(content))
    except StrictJsonError:
        return read, None
    if not isinstance(problem, dict):
        return read, None
    is_ours = read_terms(problem) if response.status_code == _PAYMENT_REQUIRED else problem.get("code") == _USED
    return read, problem if is_ours else None


def _is_for(receipt: PaidReceipt, package: SignedPackage) -> bool:
    return (receipt.aa_address, receipt.period, receipt.amount_spent, receipt.amount) == (
        package.aa_address,
        package.period,
        package.amount_spent,
        package.amount,
    )


def _view(problem: dict[str, JsonValue]) -> ChannelView | None:
    answer: Any = {"error": "refused", "channel": problem.get("channel")}
    read = read_answer(json.loads(json.dumps(answer)))
    return None if read is None else read.view


def _refused(problem: dict[str, JsonValue], package: SignedPackage) -> PaymentRefusedError:
    read = read_answer({"error": str(problem.get("detail")), "code": str(problem.get("code"))})
    text, code = ("refused", None) if read is None or read.error is None else (read.error, read.code)
    return PaymentRefusedError(code or "refused", text, _view(problem), payment_id=package.payment_id)


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after[:6]) if retry_after is not None and retry_after.isdecimal() else None
