"""Moneysocket over real WebSockets, in asyncio: consumers, providers and relays.

    async with ConsumerStack() as stack:
        connection = stack.connect("moneysocket1…")
        await connection.announced(timeout_s=30)
        bolt11 = await connection.invoice(12_000)

The only part of the package with sockets, clocks and randomness; all rules are in the state machines it drives.
"""

from shared.moneysocket.stacks.consumer import ConsumerConnection, ConsumerStack, RequestError
from shared.moneysocket.stacks.events import DialFailed, Stopped
from shared.moneysocket.stacks.provider import ProviderConnection, ProviderStack, RequestRefusedError
from shared.moneysocket.stacks.relay import Relay, RelayCounts
from shared.moneysocket.stacks.wires import ListenAt, Wires

__all__ = [
    "ConsumerConnection",
    "ConsumerStack",
    "DialFailed",
    "ListenAt",
    "ProviderConnection",
    "ProviderStack",
    "Relay",
    "RelayCounts",
    "RequestError",
    "RequestRefusedError",
    "Stopped",
    "Wires",
]
