"""Consumers and providers over real sockets on loopback: quick limits, and ways to wait for what they report."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

from moneysocket_support import ACCOUNT, BOLT11

from shared.moneysocket.events import Event
from shared.moneysocket.provider import ProviderInfo
from shared.moneysocket.stacks import ProviderStack, RequestRefusedError, Wires
from shared.moneysocket.wads import bitcoin

if TYPE_CHECKING:
    from shared.moneysocket.events import InvoiceWanted, PaymentWanted
    from shared.moneysocket.seeds import SharedSeed
    from shared.moneysocket.stacks import ProviderConnection
    from shared.moneysocket.stacks.stack import Stack

E = TypeVar("E", bound=Event)

PATIENCE_S = 10
QUICK = Wires(shortest_pause_s=0.01, longest_pause_s=0.02)
PREIMAGE = "ab" * 32
PAYMENT_HASH = hashlib.sha256(bytes.fromhex(PREIMAGE)).hexdigest()
TOO_DEAR = "lnbc9dear"


class Wallet:
    """What a provider's application does: makes invoices, pays them, and has a balance."""

    def __init__(self, msats: int = 1_000_000) -> None:
        self.msats: int | None = msats
        self.asked: list[Any] = []
        self.finish = asyncio.Event()
        self.finish.set()

    def info(self, _: SharedSeed) -> ProviderInfo | None:
        return (
            ProviderInfo(ACCOUNT, payer=True, payee=True, wad=bitcoin(self.msats)) if self.msats is not None else None
        )

    async def invoice(self, _: ProviderConnection, wanted: InvoiceWanted) -> str:
        self.asked.append(wanted)
        return f"{BOLT11}{wanted.msats}"

    async def pay(self, _: ProviderConnection, wanted: PaymentWanted) -> str:
        self.asked.append(wanted)
        await self.finish.wait()
        if wanted.bolt11 == TOO_DEAR:
            raise RequestRefusedError("not that much")
        self.msats = (self.msats or 0) - 1000
        return PREIMAGE

    def stack(self, wires: Wires = QUICK, **options: Any) -> ProviderStack:
        return ProviderStack(self.info, wires, make_invoice=self.invoice, pay=self.pay, **options)


def heard(stack: Stack[Any], kind: type[E], count: int = 1) -> asyncio.Future[E]:
    """The event of this kind that comes as number `count` from now on."""
    future: asyncio.Future[E] = asyncio.get_running_loop().create_future()
    seen: list[E] = []

    def note(_: Any, event: E) -> None:
        seen.append(event)
        if len(seen) == count and not future.done():
            future.set_result(event)

    stack.on(kind, note)
    return future


async def soon(future: asyncio.Future[E]) -> E:
    """Wait for it, not for ever."""
    return await asyncio.wait_for(future, PATIENCE_S)
