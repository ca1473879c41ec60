"""Opens the payers' channels on the local ledger, and closes them in the end: `python -m load_tests.crowd.bank`.

Speaks JSON lines. First it reads what to open::

    {"url", "hub", "receiver", "version", "seed", "payers", "deposit"}

and, when all channels are open, says `{"open": N}`. The next line it reads tells what was signed in each channel and
what there are receipts for; it closes them and compares with what the ledger pays the receiver::

    {"close": {AA_ADDRESS: [SIGNED, PAID]}, "confirmed_from": BYTES}   →   {"closed": N, "left": N, "faults": [TEXT, …]}

A receiver does not pay for an early end of channels that have brought it little: the end of those that have paid less
than `confirmed_from` is not waited for. Before an answer, `{"said": TEXT}` may come at any time. When its input ends,
or nobody hears it any more, it ends and leaves channels as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from load_tests.crowd.crowd import payers_of
from load_tests.faults.payers import TIMEOUT_S
from load_tests.faults.purse import Purse
from load_tests.faults.wire import Line
from shared.agent.responses import amount_received
from shared.obyte.agents import MIN_AGENT_BYTES
from shared.obyte.coins import BASE
from shared.obyte.composing import Output, data_message, definition_message
from shared.obyte.hub_client import HubClient
from shared.obyte.networks import DEVNET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from load_tests.faults.payers import LoadChannel, LoadPayer

BOUND_S = 300.0
FOR_FEES = 10**6
"""Bytes of each payer beyond his deposit."""
RECEIVERS_FEES = 50_000
"""Bytes for the receiver, for closing one channel."""
_HUB_S = 60.0
_TOLD_EVERY_S = 5.0
_PAUSE_S = 0.1
_AT_ONCE = 16


class BankError(Exception):
    """A channel cannot be opened or closed."""


class Bank:
    """The payers' money."""

    def __init__(self, hub: HubClient, url: str, payers: Sequence[LoadPayer], purses: dict[str, Purse]) -> None:
        self._hub, self._url, self._payers, self._purses = hub, url, payers, purses
        self._gate = asyncio.Semaphore(_AT_ONCE)

    @property
    def channels(self) -> list[LoadChannel]:
        """All channels."""
        return [channel for payer in self._payers for channel in payer.channels]

    async def open(self) -> None:
        """Give everybody money, open all channels and wait until the receiver takes payments in each."""
        deposit = self._payers[0].deposit
        for payer in self._payers:
            await self._purses[payer.address].fill(deposit + FOR_FEES)
        receiver = self.channels[0].receiver
        fees = RECEIVERS_FEES * len(self._payers)
        await self._hub.request("devnet/fund", {"address": receiver, "amount": fees})
        await self._hub.request("devnet/stabilise")
        await self._each(self._open)
        await self._hub.request("devnet/stabilise")
        for purse in self._purses.values():
            purse.is_disclosed = True
        await self._until_all("open", self.channels, self._is_open)

    async def close(self, amounts: dict[str, tuple[int, int]], confirmed_from: int) -> tuple[int, list[str]]:
        """Close all channels; return of how many the end was seen, and where it paid another sum than the receipts'."""
        await self._each(lambda channel: self._close(channel, amounts[channel.aa_address][0]))
        paid: dict[str, int] = {}

        async def is_paid(channel: LoadChannel) -> bool:
            got = await self._payout(channel)
            if got is not None:
                paid[channel.aa_address] = got
            return got is not None

        awaited = [channel for channel in self.channels if amounts[channel.aa_address][1] >= confirmed_from]
        await self._until_all("closed and paid", awaited, is_paid)
        return len(paid), [
            f"{address}: receipts of {amounts[address][1]}, and the ledger paid {got - MIN_AGENT_BYTES}"
            for address, got in paid.items()
            if got != amounts[address][1] + MIN_AGENT_BYTES  # these bytes the receiver's own trigger has brought
        ]

    async def _open(self, channel: LoadChannel) -> None:
        terms = {"address": channel.payer.address, "timeout": TIMEOUT_S, "asset": BASE, "salt": channel.salt}
        answer = await self._ask({"command": "create_channel", "params": {**terms, "version": channel.version}})
        if answer != "":
            raise BankError(f"the receiver does not open a channel: {answer}")
        output = Output(channel.aa_address, channel.payer.deposit)
        definition = definition_message(channel.aa_address, channel.definition)
        await self._purses[channel.payer.address].post([output], [definition])

    async def _is_open(self, channel: LoadChannel) -> bool:
        return await self._ask({"command": "is_ready", "params": {"aa_address": channel.aa_address}}) == ""

    async def _close(self, channel: LoadChannel, signed: int) -> None:
        data = data_message({"close": 1, "period": 1, "transferredFromMe": signed})
        output = Output(channel.aa_address, MIN_AGENT_BYTES)
        await self._purses[channel.payer.address].post([output], [data], responses=1)

    async def _payout(self, channel: LoadChannel) -> int | None:
        """Return what the agent has paid the receiver, None as long as it has not."""
        for _, unit in await self._hub.get_aa_response_units(channel.aa_address, 1):
            joint: Any = None if unit is None else await self._hub.get_joint(unit)
            got = 0 if joint is None else amount_received(joint, channel.receiver, BASE)
            if got:
                return got
        return None

    async def _ask(self, request: dict[str, Any]) -> str:
        """Ask the receiver; return an empty text for a yes and else the reason."""
        line = Line(self._url)
        try:
            answer = await line.ask(json.dumps(request).encode())
        finally:
            line.close()
        # A yes is an answer without a receipt, and without the code of an error.
        return "" if answer.kind == "refused" and not answer.code else f"{answer.kind} {answer.code}".strip()

    async def _each(self, work: Callable[[LoadChannel], Awaitable[None]]) -> None:
        async def one(channel: LoadChannel) -> None:
            async with self._gate:
                await work(channel)

        await asyncio.gather(*map(one, self.channels))

    async def _until_all(
        self, what: str, channels: list[LoadChannel], is_so: Callable[[LoadChannel], Awaitable[bool]]
    ) -> None:
        waiting, told = channels, time.monotonic()
        try:
            async with asyncio.timeout(BOUND_S):
                while True:
                    waiting = [channel for channel in waiting if not await is_so(channel)]
                    if not waiting:
                        return
                    if time.monotonic() - told > _TOLD_EVERY_S:
                        told = time.monotonic()
                        _say(said=f"{len(channels) - len(waiting)} of {len(channels)} channels are {what}")
                    await asyncio.sleep(_PAUSE_S)
        except TimeoutError:
            raise BankError(f"{len(waiting)} channels are not {what} after {BOUND_S:g} s") from None


async def main() -> None:
    """Open, wait to be told, close."""
    given = json.loads(await asyncio.to_thread(sys.stdin.readline))
    payers = payers_of(given["seed"], given["payers"], given["receiver"], given["deposit"], given["version"])
    async with HubClient(given["hub"], DEVNET, request_timeout_s=_HUB_S) as hub:
        witnesses = await hub.get_witnesses()
        purses = {payer.address: Purse(hub, witnesses, payer.key) for payer in payers}
        bank = Bank(hub, given["url"], payers, purses)
        await bank.open()
        _say(open=len(payers))
        line = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            return
        told = json.loads(line)
        amounts = {address: (signed, paid) for address, (signed, paid) in told["close"].items()}
        closed, faults = await bank.close(amounts, told["confirmed_from"])
        _say(closed=closed, left=len(payers) - closed, faults=faults)


def _say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        asyncio.run(main())
