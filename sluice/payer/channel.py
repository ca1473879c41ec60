"""One channel of a payer, as an object to hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.channels.model import Channel
    from shared.obyte.serialization import JsonValue
    from sluice.payer.payer import Payer
    from sluice.payer.payments import Receipt
    from sluice.payer.wallet import SettlementSummary


@dataclass(frozen=True, slots=True)
class PayerChannel:
    """One channel of a payer; every call goes to the payer."""

    payer: Payer
    aa_address: str

    @property
    def state(self) -> Channel:
        """What is known of the channel now."""
        return self.payer.state(self.aa_address)

    @property
    def url(self) -> str:
        """The receiver's base URL."""
        return self.payer.peer_url(self.aa_address)

    async def wait_open(self, timeout_s: float | None = None) -> Channel:
        """See `Payer.wait_open`."""
        return await self.payer.wait_open(self.aa_address, timeout_s)

    async def pay(self, amount: int, *, message: JsonValue = None) -> Receipt:
        """See `Payer.pay`."""
        return await self.payer.pay(self.aa_address, amount, message=message)

    async def deposit(self, amount: int) -> None:
        """See `Payer.deposit`."""
        await self.payer.deposit(self.aa_address, amount)

    async def close(self) -> None:
        """See `Payer.close`."""
        await self.payer.close(self.aa_address)

    async def settle(self, timeout_s: float | None = None) -> SettlementSummary:
        """See `Payer.settle`."""
        return await self.payer.settle(self.aa_address, timeout_s)
