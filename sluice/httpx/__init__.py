"""Paying for what HTTP servers sell: transports for httpx that pay 402s within a budget.

    budget = Budget(per_request=1_000, total=100_000, deposit=200_000)
    async with Payer.open(…) as payer, httpx.AsyncClient(transport=PayingTransport(payer, budget)) as http:
        answer = await http.get("https://api.example/weather")

`budget` is what may be spent on whom, `channels` finds the money, `paying` is the transport, `sync` the same for
`httpx.Client`.
"""

from __future__ import annotations

from sluice.httpx.budget import Budget, PaymentDeclinedError
from sluice.httpx.paying import PayingTransport, payment_of
from sluice.httpx.sync import SyncPayingTransport

__all__ = ["Budget", "PayingTransport", "PaymentDeclinedError", "SyncPayingTransport", "payment_of"]
