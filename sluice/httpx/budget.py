"""What may be spent, on whom, and what is refused as a surprise. Amounts in the smallest unit of the budget's asset."""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from sluice.payer import PayerError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sluice.terms import Terms


class PaymentDeclinedError(PayerError):
    """We do not pay this: nothing was signed for it, beyond what earlier packages of the same request say.

    Codes: `no_terms` (a 402 without any that we can meet), `another_network`, `another_receiver`, `not_encrypted`,
    `timeout_too_long`, `price_too_high`, `host_budget_spent`, `budget_spent`, `no_channel`, `deposits_spent`.
    """


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of one transport, for as long as it lives; a new transport begins anew.

    `per_request`, `per_host`, `total`: what may be signed for one request, for all to one host (default: the total),
    and for all. What was signed counts, whatever became of it: the receiver may hold it.
    `deposit`: what a channel is opened with, and what is added when it is used up; 0 opens none. `max_deposited`: of
    all these together (default: one deposit). Deposits come back when channels are closed, but for what was paid; with
    agents of version 1.1 a dishonest receiver can keep them.
    `receivers`: by host, other hosts whose receivers it may name in its terms; a host may always name itself.
    `max_timeout_s`: how long a receiver that is gone may keep our deposit from us.
    `resync`: how much to give in to receivers who have recorded more than we have (see `Payer.resynchronise`).
    `allow_plain_http`: packages are money to who sees them; without this they go by https or to this machine only.
    """

    per_request: int
    total: int
    per_host: int | None = None
    asset: str = "base"
    deposit: int = 0
    max_deposited: int | None = None
    receivers: Mapping[str, Collection[str]] = field(default_factory=dict)
    max_timeout_s: int = 86_400
    resync: int = 0
    allow_plain_http: bool = False


class Spending:
    """What was spent of a budget so far."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.total = 0
        self.deposited = 0
        self.by_host: Counter[str] = Counter()

    def spend(self, host: str, amount: int, *, for_request: int) -> None:
        """Count an amount, before it is signed; `for_request` was signed for the same request already.

        Raises PaymentDeclinedError, and then nothing is counted.
        """
        budget = self.budget
        if for_request + amount > budget.per_request:
            text = f"{host} asks {for_request + amount} for a request, the budget is {budget.per_request}"
            raise PaymentDeclinedError("price_too_high", text)
        if self.by_host[host] + amount > (budget.total if budget.per_host is None else budget.per_host):
            raise PaymentDeclinedError("host_budget_spent", f"the budget for {host} is spent: {self.by_host[host]}")
        if self.total + amount > budget.total:
            raise PaymentDeclinedError("budget_spent", f"the budget is spent: {self.total} of {budget.total}")
        self.total += amount
        self.by_host[host] += amount

    def give_back(self, host: str, amount: int) -> None:
        """Count an amount no longer: it was not signed."""
        self.total -= amount
        self.by_host[host] -= amount

    def take_deposit(self) -> int:
        """Count one deposit more and return it. Raises PaymentDeclinedError."""
        budget = self.budget
        if budget.deposit == 0:
            raise PaymentDeclinedError("no_channel", "no channel can pay this, and the budget has no deposits")
        limit = budget.deposit if budget.max_deposited is None else budget.max_deposited
        if self.deposited + budget.deposit > limit:
            raise PaymentDeclinedError("deposits_spent", f"all deposits of the budget are made: {self.deposited}")
        self.deposited += budget.deposit
        return budget.deposit

    def give_back_deposit(self) -> None:
        """Count the last deposit no longer: it was not made."""
        self.deposited -= self.budget.deposit


def choose(offers: Collection[Terms], budget: Budget, *, network: str, url: httpx.URL) -> Terms:
    """Return the first terms in the budget's asset, if there is nothing surprising about them.

    `url`: of the request. Raises PaymentDeclinedError.
    """
    terms = next((offer for offer in offers if offer.asset == budget.asset), None)
    if terms is None:
        raise PaymentDeclinedError("no_terms", f"{url.host} names no terms in {budget.asset} that we can meet")
    if terms.network != network:
        raise PaymentDeclinedError("another_network", f"{url.host} wants to be paid on another network than {network}")
    receiver = httpx.URL(terms.url)
    if receiver.host != url.host and receiver.host not in budget.receivers.get(url.host, ()):
        raise PaymentDeclinedError("another_receiver", f"{url.host} wants {receiver.host} to be paid, see `receivers`")
    if not budget.allow_plain_http and not (_is_private(url) and _is_private(receiver)):
        raise PaymentDeclinedError("not_encrypted", f"packages for {url.host} would not be encrypted on their way")
    if terms.min_timeout_s > budget.max_timeout_s:
        raise PaymentDeclinedError("timeout_too_long", f"{url.host} wants channels of {terms.min_timeout_s} s or more")
    return terms


def _is_private(url: httpx.URL) -> bool:
    if url.scheme == "https" or url.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return False
