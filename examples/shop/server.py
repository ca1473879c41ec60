"""A shop that is the front itself: the customer pays as to any receiver, and says with the payment what it is for.

The message beside a payment is not signed, and need not be: it only says which order to book the money on. What counts
is the amount, which is. An order may be paid in parts; what is too much is shown, to be given back by hand.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import uvicorn
from fastapi import Body, FastAPI, HTTPException

from front.app import create_app
from shared.settings import load_settings
from sluice.home import attached

if TYPE_CHECKING:
    from shared.receiving.answers import ReceivedPayment
    from shared.settings import Settings

PRICES = {"tea": 300, "cup": 1_200}
MAX_ORDERS = 10_000
PORT = 8001


@dataclass
class Order:
    """`payments`: amounts by the payment's number, so that a payment that is told twice counts once."""

    number: int
    item: str
    payments: dict[int, int] = field(default_factory=dict)

    @property
    def due(self) -> int:
        """What is still to be paid; negative when it was too much."""
        return PRICES[self.item] - sum(self.payments.values())

    def as_json(self) -> dict[str, Any]:
        """Return what the customer sees."""
        state = "paid" if self.due <= 0 else "partly paid" if self.payments else "open"
        return {
            "order": self.number,
            "item": self.item,
            "state": state,
            "due": max(0, self.due),
            "over": max(0, -self.due),
        }


class Shop:
    """Orders, in memory; a real shop keeps them in its database, with the payments' numbers as a unique key."""

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self._numbers = itertools.count(1)

    def take(self, item: str) -> Order:
        """Write an order down."""
        if item not in PRICES:
            raise HTTPException(404, "we do not sell this")
        if len(self.orders) >= MAX_ORDERS:
            raise HTTPException(503, "too many orders")
        order = Order(next(self._numbers), item)
        self.orders[order.number] = order
        return order

    async def on_payment(self, payment: ReceivedPayment) -> dict[str, Any]:
        """Book a payment on the order that its message names; what is returned goes to the payer."""
        number = payment.message.get("order") if isinstance(payment.message, dict) else None
        order = self.orders.get(number) if isinstance(number, int) else None
        if order is None or payment.asset != "base":
            return {"error": "thank you, but we do not know what this is for", "payment": payment.payment_id}
        order.payments[payment.payment_id] = payment.amount
        return order.as_json()


def create(settings: Settings) -> FastAPI:
    """Make a front that is a shop."""
    shop = Shop()
    app = create_app(settings, on_payment=shop.on_payment)

    @app.post("/orders", status_code=201)
    async def order(item: Annotated[str, Body(embed=True)]) -> dict[str, Any]:
        return {**shop.take(item).as_json(), "pay_to": str(settings.public_url)}

    @app.get("/orders/{number}")
    async def look(number: int) -> dict[str, Any]:
        if number not in shop.orders:
            raise HTTPException(404, "there is no such order")
        return shop.orders[number].as_json()

    return app


if __name__ == "__main__":
    running = attached(load_settings())
    uvicorn.run(create(running.model_copy(update={"public_url": f"http://127.0.0.1:{PORT}/"})), port=PORT)
