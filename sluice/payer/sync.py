"""The payer for programs without an event loop: the same one, running on a loop in a thread of its own.

    with SyncPayer.open(Path("payer"), hub_url="wss://…", network="mainnet", passphrase="…") as payer:
        channel = payer.open_channel("https://shop.example/", deposit=1_000_000)
        channel.wait_open(timeout_s=600)
        receipt = channel.pay(1_000, message={"order": 7})

Every call waits for its result and raises what the asynchronous one raises. Any thread may call, several at a time.
Whoever interrupts a call (Ctrl-C) cancels it: a payment that was signed by then is on record, as `signed`.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from shared.obyte.agents import AGENT_VERSIONS
from shared.obyte.coins import BASE, Balance
from sluice.payer.errors import PayerError
from sluice.payer.payer import Payer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from pathlib import Path

    from shared.channels.model import Channel
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue
    from sluice.payer.payer import PayerOptions
    from sluice.payer.payments import Payment, Receipt
    from sluice.payer.requests import RequestTerms
    from sluice.payer.store import PaymentState
    from sluice.payer.wallet import SettlementSummary

T = TypeVar("T")


class SyncPayer:
    """One wallet that pays, for synchronous programs. Made by `SyncPayer.open`."""

    def __init__(self, payer: Payer, loop: asyncio.AbstractEventLoop) -> None:
        self.payer = payer
        """The asynchronous payer; only its own loop may use it, which `run` does."""
        self._loop = loop
        self._is_closed = False

    @classmethod
    @contextmanager
    def open(
        cls,
        home: Path,
        *,
        hub_url: str | None,
        network: Network | str,
        passphrase: str | None = None,
        mnemonic: str | None = None,
        options: PayerOptions | None = None,
        **injected: Any,
    ) -> Iterator[SyncPayer]:
        """Open the payer whose files are in `home`; see `Payer.open`, whose other arguments are passed on."""
        with _loop_in_a_thread() as loop:
            opened = Payer.open(
                home,
                hub_url=hub_url,
                network=network,
                passphrase=passphrase,
                mnemonic=mnemonic,
                options=options,
                **injected,
            )
            payer = cls(_wait(loop, opened.__aenter__()), loop)
            try:
                yield payer
            finally:
                payer._is_closed = True
                _wait(loop, opened.__aexit__(None, None, None))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the payer's loop and return its result. Raises what it raises, PayerError `closed`."""
        if self._is_closed:
            work.close()
            raise PayerError("closed", "the payer was closed")
        return _wait(self._loop, work)

    @property
    def address(self) -> str:
        """See `Payer.address`."""
        return self.payer.address

    def balance(self, asset: str = BASE, *, timeout_s: float = 30) -> Balance:
        """See `Payer.balance`."""
        return self.run(self.payer.balance(asset, timeout_s=timeout_s))

    def wait_connected(self, timeout_s: float) -> None:
        """See `Payer.wait_connected`."""
        self.run(self.payer.wait_connected(timeout_s))

    def open_channel(
        self,
        url: str,
        deposit: int,
        *,
        asset: str = BASE,
        timeout_s: int | None = None,
        salt: str | None = None,
        versions: Sequence[str] = AGENT_VERSIONS,
        receiver: str | None = None,
    ) -> SyncPayerChannel:
        """See `Payer.open_channel`."""
        opened = self.payer.open_channel(
            url, deposit, asset=asset, timeout_s=timeout_s, salt=salt, versions=versions, receiver=receiver
        )
        return SyncPayerChannel(self, self.run(opened).aa_address)

    def channel(self, aa_address: str) -> SyncPayerChannel:
        """See `Payer.channel`."""
        return SyncPayerChannel(self, self.payer.channel(aa_address).aa_address)

    def channels(self) -> tuple[SyncPayerChannel, ...]:
        """See `Payer.channels`."""
        return tuple(SyncPayerChannel(self, channel.aa_address) for channel in self.payer.channels())

    def pay(self, target: str, amount: int, *, message: JsonValue = None, asset: str = BASE) -> Receipt:
        """See `Payer.pay`."""
        return self.run(self.payer.pay(target, amount, message=message, asset=asset))

    def request(self, url: str) -> RequestTerms:
        """See `Payer.request`."""
        return self.run(self.payer.request(url))

    def pay_request(
        self, url: str, amount: int | None = None, *, at_most: int | None = None, deposit: int | None = None
    ) -> Receipt:
        """See `Payer.pay_request`."""
        return self.run(self.payer.pay_request(url, amount, at_most=at_most, deposit=deposit))

    def resend(self, payment_id: int) -> Receipt:
        """See `Payer.resend`."""
        return self.run(self.payer.resend(payment_id))

    def payments(self, *, state: PaymentState | None = None, aa_address: str | None = None) -> tuple[Payment, ...]:
        """See `Payer.payments`."""
        return self.run(self.payer.payments(state=state, aa_address=aa_address))


@dataclass(frozen=True, slots=True)
class SyncPayerChannel:
    """One channel of a synchronous payer; every call goes to the payer."""

    payer: SyncPayer
    aa_address: str

    @property
    def state(self) -> Channel:
        """What is known of the channel now."""
        return self.payer.payer.state(self.aa_address)

    @property
    def url(self) -> str:
        """The receiver's base URL."""
        return self.payer.payer.peer_url(self.aa_address)

    def wait_open(self, timeout_s: float | None = None) -> Channel:
        """See `Payer.wait_open`."""
        return self.payer.run(self.payer.payer.wait_open(self.aa_address, timeout_s))

    def pay(self, amount: int, *, message: JsonValue = None) -> Receipt:
        """See `Payer.pay`."""
        return self.payer.pay(self.aa_address, amount, message=message)

    def deposit(self, amount: int) -> None:
        """See `Payer.deposit`."""
        self.payer.run(self.payer.payer.deposit(self.aa_address, amount))

    def close(self) -> None:
        """See `Payer.close`."""
        self.payer.run(self.payer.payer.close(self.aa_address))

    def settle(self, timeout_s: float | None = None) -> SettlementSummary:
        """See `Payer.settle`."""
        return self.payer.run(self.payer.payer.settle(self.aa_address, timeout_s))


@contextmanager
def _loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread until the block ends."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stopped = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stopped))
        await stopped.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="payer", daemon=True)
    thread.start()
    loop, stopped = started.result()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()


def _wait(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    except BaseException:
        # An interrupted caller is gone: what he asked for must not go on behind his back.
        future.cancel()
        raise
