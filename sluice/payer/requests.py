"""Paying what somebody asks for: a payment request, given by the address of its page.

    terms of the request  →  a payment for it whose fate is unknown is sent again  →  a channel that has the money
    →  one payment of what is due, which names the request in its message

Nothing is signed before the terms were read, and a request that is paid, expired or cancelled is never paid: what is
too much or too late is the payee's all the same.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from shared.channels.model import MAX_AMOUNT, Status, is_amount
from shared.channels.paying import spendable
from shared.obyte.agents import AGENT_VERSIONS
from shared.strict_json import StrictJsonError, decode
from sluice.payer import store as payer_store
from sluice.payer.errors import PayerError, PeerUnreachableError, UnknownChannelError
from sluice.payer.opening import DEFAULT_TIMEOUT_S
from sluice.terms import MAX_PROBLEM_BYTES, Terms, read_terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.obyte.serialization import JsonValue
    from sluice.payer.payer import Payer
    from sluice.payer.payments import PaymentDesk, Receipt
    from sluice.payer.store import PayerStore, StoredPayment

_PAGE = re.compile(r"(?P<base>https?://[^?#]+/)pay/(?P<id>[A-Za-z0-9_-]{22})")
_OK, _NOT_FOUND = 200, 404
_MAX_MEMO = 1_000


class RequestError(PayerError):
    """A request is not paid, and nothing was signed.

    Codes: `invalid_url` (no page of a request), `unknown_payment_request`, `bad_answer`, `not_payable` (paid, expired
    or cancelled), `no_way_to_pay`, `another_network`, `another_host` (the money would go elsewhere than to the page's
    host), `more_than_due`, `too_expensive`.
    """


@dataclass(frozen=True, slots=True)
class RequestTerms:
    """What a payment request says of itself. Amounts in the smallest unit of `asset`.

    `due`: what should be paid now, 0 when nothing should. `terms`: how to pay it through a channel, None if it cannot
    be. `memo`: the payee's words. `expires_at`: RFC 3339.
    """

    id: str
    url: str
    state: str
    amount: int
    asset: str
    received: int
    due: int
    memo: str | None = None
    expires_at: str | None = None
    terms: Terms | None = field(default=None, repr=False)

    @property
    def message(self) -> dict[str, JsonValue]:
        """What names the request beside a payment."""
        return {"request": self.id}


def is_request_url(url: str) -> bool:
    """Whether an address is that of a payment request's page."""
    return _PAGE.fullmatch(url) is not None


class RequestDesk:
    """Reads and pays requests for one payer, one at a time."""

    def __init__(self, http: httpx.AsyncClient, store: PayerStore, desk: PaymentDesk) -> None:
        self._http = http
        self._store = store
        self._desk = desk
        self._lock = asyncio.Lock()

    async def look(self, url: str) -> RequestTerms:
        """Read a request. Raises RequestError and PeerUnreachableError."""
        found = _PAGE.fullmatch(url)
        if found is None:
            raise RequestError("invalid_url", "this is no address of a payment request: https://HOST/pay/ID")
        return _read(url, found["id"], await self._fetch(f"{url}.json"))

    async def pay(
        self, payer: Payer, url: str, amount: int | None, *, at_most: int | None, deposit: int | None
    ) -> Receipt:
        """Pay a request; see `Payer.pay_request`."""
        async with self._lock:
            asked = await self.look(url)
            for unsettled in await self._unsettled(asked):
                receipt = await self._desk.resend(unsettled.id)
                asked = await self.look(url)
                if not asked.due:
                    return receipt
            wanted, terms = _check(asked, amount, at_most, payer.network.name)
            aa_address = _ready(payer, terms, wanted)
            if aa_address is None:
                aa_address = await _fund(payer, terms, wanted, deposit)
            return await self._desk.pay(aa_address, wanted, asked.message)

    async def _unsettled(self, asked: RequestTerms) -> Sequence[StoredPayment]:
        """Return payments for the request that were signed, and that nobody knows the fate of."""
        signed = await self._store.run(lambda db: payer_store.payments(db, state="signed"))
        return [item for item in signed if item.message is not None and json.loads(item.message) == asked.message]

    async def _fetch(self, url: str) -> dict[str, Any]:
        try:
            async with self._http.stream("GET", url, headers={"accept": "application/json"}) as answer:
                content = bytearray()
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > MAX_PROBLEM_BYTES:
                        raise RequestError("bad_answer", "the answer is too large")
        except httpx.TimeoutException as error:
            raise PeerUnreachableError("peer_timeout", "the request's page did not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            text = f"the request's page cannot be reached ({type(error).__name__})"
            raise PeerUnreachableError("peer_unreachable", text) from error
        if answer.status_code == _NOT_FOUND:
            raise RequestError("unknown_payment_request", "there is no such payment request")
        if answer.status_code != _OK:
            raise PeerUnreachableError("peer_unavailable", f"the request's page answered {answer.status_code}")
        try:
            members = decode(bytes(content))
        except StrictJsonError:
            members = None
        if not isinstance(members, dict):
            raise RequestError("bad_answer", "the request's terms are no JSON object")
        return members


def _read(url: str, request_id: str, members: dict[str, Any]) -> RequestTerms:
    match members:
        case {
            "id": str(named),
            "state": str(state),
            "amount": int(amount),
            "asset": str(asset),
            "received": int(received),
            "due": int(due),
        } if named == request_id and is_amount(amount) and 0 <= due <= MAX_AMOUNT and received >= 0:
            memo, expires_at = members.get("memo"), members.get("expires_at")
            found = read_terms(members)
            return RequestTerms(
                id=named,
                url=url,
                state=state,
                amount=amount,
                asset=asset,
                received=received,
                due=due,
                memo=memo[:_MAX_MEMO] if isinstance(memo, str) else None,
                expires_at=expires_at if isinstance(expires_at, str) else None,
                terms=next((terms for terms in found if (terms.asset, terms.amount) == (asset, due)), None),
            )
    raise RequestError("bad_answer", "the answer is not what the terms of a payment request look like")


def _check(asked: RequestTerms, amount: int | None, at_most: int | None, network: str) -> tuple[int, Terms]:
    """Return how much to pay, and the way. Raises RequestError."""
    if not asked.due:
        raise RequestError("not_payable", f"the request is {asked.state}: nothing should be paid now")
    wanted, terms = amount or asked.due, asked.terms
    if wanted > asked.due:
        raise RequestError("more_than_due", f"the request asks for {asked.due} now, not for {wanted}")
    if at_most is not None and wanted > at_most:
        raise RequestError("too_expensive", f"the request asks for {wanted}, more than {at_most}")
    if terms is None:
        raise RequestError("no_way_to_pay", "the request cannot be paid through a channel")
    if terms.network != network:
        raise RequestError(
            "another_network", f"the request is to be paid on {terms.network}, this wallet is on {network}"
        )
    if urlsplit(terms.url).netloc != urlsplit(asked.url).netloc:
        raise RequestError("another_host", "the money would go to another host than the page's")
    return wanted, terms


def _usable(payer: Payer, terms: Terms) -> list[str]:
    return [
        channel.aa_address
        for channel in payer.channels()
        if channel.url == terms.url
        and (channel.state.asset, channel.state.peer_address) == (terms.asset, terms.receiver)
        and not channel.state.is_closing
        and channel.state.period_closed_by_me != channel.state.current_period
    ]


def _ready(payer: Payer, terms: Terms, amount: int) -> str | None:
    for aa_address in _usable(payer, terms):
        state = payer.state(aa_address)
        if state.status is Status.OPEN and spendable(state) >= amount:
            return aa_address
    return None


async def _fund(payer: Payer, terms: Terms, amount: int, deposit: int | None) -> str:
    """Open a channel, or add to one, and wait until the money is there."""
    usable = _usable(payer, terms)
    if deposit is None:
        what = "has enough" if usable else "leads to this payee"
        raise UnknownChannelError("unknown_channel", f"no open channel {what}: a deposit is needed at {terms.url}")
    if usable:
        aa_address = usable[-1]
        await payer.wait_open(aa_address)
        if spendable(payer.state(aa_address)) < amount:
            await payer.deposit(aa_address, deposit)
    else:
        channel = await payer.open_channel(
            terms.url,
            deposit,
            asset=terms.asset,
            timeout_s=min(max(DEFAULT_TIMEOUT_S, terms.min_timeout_s), terms.max_timeout_s),
            versions=[version for version in AGENT_VERSIONS if version in terms.agent_versions],
            receiver=terms.receiver,
        )
        aa_address = channel.aa_address
    await payer.wait_spendable(aa_address, amount)
    return aa_address
