"""Does a package pay a price? Asked before it is credited: what is too little must not be taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.receiving.outcomes import Refusal
from shared.store import channels, payments

if TYPE_CHECKING:
    from shared.receiving.verification import SignedPayment
    from shared.store.database import Connection


@dataclass(frozen=True, slots=True)
class Price:
    """What something costs: at least `amount` of `asset`, in its smallest unit."""

    asset: str
    amount: int


async def misses(conn: Connection, payment: SignedPayment, price: Price) -> Refusal | None:
    """Return why a verified package does not pay the price, None if it does.

    A package that was credited before is never judged again: prices may have changed since, and its payer only asks for
    what he has paid. A channel that is unknown here is left to acceptance.
    """
    terms = payment.terms
    if payment.channel_parameters is None:
        found = (await channels.find(conn, [terms.aa_address])).get(terms.aa_address)
        asset = price.asset if found is None else found.channel.asset
    else:
        asset = payment.channel_parameters.asset  # held against the channel's address before anything is credited
    if asset == price.asset and terms.payment_amount >= price.amount:
        return None
    if await payments.find(conn, [terms.key], finished=[terms.key]):
        return None
    if asset != price.asset:
        return Refusal("wrong_asset", f"the price is in {price.asset}, the package's channel is in {asset}")
    return Refusal("payment_too_small", f"the price is {price.amount}, the package pays {terms.payment_amount}")
