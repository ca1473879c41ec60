"""Who credits the packages: a Sluice front somewhere, asked with an API key, or this very process (`in_process`)."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

import httpx

from shared.logs import get_logger
from shared.peers.http import base_url_of
from shared.receiving.terms import ReceiverTerms
from shared.strict_json import StrictJsonError, decode
from sluice.terms import PaidReceipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.receiving.prices import Price
    from shared.strict_json import JsonValue

logger = get_logger(__name__)

TERMS_LAST_S = 60.0
TIMEOUT_S = 15.0
"""Longer than a front waits for a channel's funding."""
_OK = 200
_REFUSALS = frozenset({409, 422})


class ReceiverUnavailableError(Exception):
    """The receiver cannot be asked now, or not by us. The same request may be repeated safely; the text is for logs."""

    def __init__(self, text: str, *, retry_after_s: int = 1) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Credit:
    """A package that is credited, now or since earlier: what came with it then, and the answer kept with it."""

    receipt: PaidReceipt
    message: JsonValue = field(repr=False)
    answer: JsonValue = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoCredit:
    """A package that was not credited: a stable code, a text for people, the receiver's view of the channel."""

    code: str
    text: str
    channel: JsonValue = None


class PackageReceiver(Protocol):
    """What the dependency needs of a receiver. All may raise ReceiverUnavailableError."""

    secret: bytes
    """Of this application, the same in all its processes: it seals what a package has bought."""

    async def __aenter__(self) -> Self:
        """Begin, when the application starts."""

    async def __aexit__(self, *_: object) -> None:
        """End, when the application stops."""

    async def terms(self) -> ReceiverTerms:
        """Return on which terms channels can be opened."""

    async def credit(self, package: dict[str, JsonValue], message: JsonValue, price: Price) -> Credit | NoCredit:
        """Credit a package that pays the price, once; keep the message with it the first time."""

    async def keep(self, payment_id: int, answer: JsonValue) -> JsonValue:
        """Keep an answer with the payment, unless there is one; return the one that is kept."""


class RemoteReceiver:
    """A Sluice front at `url`, asked with an API key of scope `receive`.

    All processes of an application must use the same key: what a package has bought is sealed with it. After the key is
    replaced, requests paid before cannot be repeated any more.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str,
        http: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`url`: the front's base URL; it must be https unless the front is near. `http`: a client to ask with."""
        self._url = base_url_of(url)
        self._headers = {"authorization": f"Bearer {api_key}"}
        self._http = http
        self._owns_http = http is None
        self._clock = clock
        self._terms: tuple[float, ReceiverTerms] | None = None
        self.secret = hashlib.sha256(b"sluice sold over http\0" + api_key.encode()).digest()

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections, if they are ours."""
        if self._owns_http and self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def terms(self) -> ReceiverTerms:
        """Return the front's terms, at most a minute old; older ones while it is away. See PackageReceiver."""
        if self._terms is not None and self._clock() < self._terms[0] + TERMS_LAST_S:
            return self._terms[1]
        try:
            status, answer = await self._ask("GET", "v1/terms")
            found = _terms(answer) if status == _OK else None
            if found is None:
                raise _unusable(status, answer)
        except ReceiverUnavailableError:
            if self._terms is None:
                raise
            return self._terms[1]
        self._terms = self._clock(), found
        return found

    async def credit(self, package: dict[str, JsonValue], message: JsonValue, price: Price) -> Credit | NoCredit:
        """See PackageReceiver."""
        if not package.keys().isdisjoint({"message", "price"}):
            return NoCredit("unknown_field", "the package has a field that is not known")
        body: dict[str, Any] = {**package, "message": message, "price": {"asset": price.asset, "amount": price.amount}}
        status, answer = await self._ask("POST", "v1/packages/verify", body)
        if isinstance(answer, dict):
            code, text = answer.get("code"), answer.get("detail")
            if status in _REFUSALS and isinstance(code, str) and isinstance(text, str):
                return NoCredit(code, text, answer.get("channel"))
            if status == _OK and answer.keys() >= {"message", "answer"}:
                try:
                    return Credit(PaidReceipt.of(answer), answer["message"], answer["answer"])
                except ValueError:
                    pass
        raise _unusable(status, answer)

    async def keep(self, payment_id: int, answer: JsonValue) -> JsonValue:
        """See PackageReceiver."""
        status, kept = await self._ask("PUT", f"v1/payments/{payment_id}/answer", answer)
        if status != _OK or not isinstance(kept, dict) or "answer" not in kept:
            raise _unusable(status, kept)
        return kept["answer"]

    async def _ask(self, method: str, path: str, body: Any = None) -> tuple[int, JsonValue]:
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False)
        content = {} if body is None else {"json": body}
        try:
            response = await self._http.request(method, f"{self._url}{path}", headers=self._headers, **content)
        except httpx.HTTPError as error:
            raise ReceiverUnavailableError(f"the front cannot be asked ({type(error).__name__})") from error
        try:
            return response.status_code, decode(response.content)
        except StrictJsonError:
            return response.status_code, None


def _unusable(status: int, answer: JsonValue) -> ReceiverUnavailableError:
    code = answer.get("code") if isinstance(answer, dict) else None
    logger.warning("front_not_usable", status=status, code=code)
    return ReceiverUnavailableError(f"the front answered with status {status}, code {code}")


def _terms(answer: JsonValue) -> ReceiverTerms | None:
    match answer:
        case {
            "network": str(network),
            "receiver": str(receiver),
            "url": str(url),
            "agent_versions": list(versions),
            "min_timeout_s": int(least),
            "max_timeout_s": int(most),
        }:
            return ReceiverTerms(network, receiver, url, tuple(map(str, versions)), least, most)
    return None
