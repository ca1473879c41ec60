"""What the ledger says of one agent's bytes: what came in, what went out, what the network took for its responses."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.obyte.units import headers_commission, payload_commission

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.obyte.networks import Network


@dataclass(slots=True)
class AgentBooks:
    """All in bytes. `paid_out` is by address. What is neither paid out nor a fee must still be the agent's."""

    aa_address: str
    received: int = 0
    fees: int = 0
    paid_out: Counter[str] = field(default_factory=Counter)

    @property
    def left(self) -> int:
        """What the agent must still hold."""
        return self.received - self.fees - sum(self.paid_out.values())


def books_of(aa_address: str, units: Iterable[Mapping[str, Any]], network: Network) -> AgentBooks:
    """Add up the stable units of an agent's history; only units that pay bytes are looked at."""
    books = AgentBooks(aa_address)
    for unit in units:
        outputs = [
            output
            for message in unit["messages"]
            if message["app"] == "payment" and "asset" not in message["payload"]
            for output in message["payload"]["outputs"]
        ]
        if unit["authors"][0]["address"] != aa_address:
            books.received += sum(output["amount"] for output in outputs if output["address"] == aa_address)
            continue
        # Its change to itself is neither income nor spending; the fees of its responses come from what it holds.
        books.fees += headers_commission(dict(unit), network) + payload_commission(dict(unit), network)
        for output in outputs:
            if output["address"] != aa_address:
                books.paid_out[output["address"]] += output["amount"]
    return books
