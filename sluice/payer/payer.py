"""A payer: a wallet of its own, channels to receivers, payments. The public face of the payer SDK.

    async with Payer.open(Path("payer"), hub_url="wss://…", network="mainnet", passphrase="…") as payer:
        channel = await payer.open_channel("https://shop.example/", deposit=1_000_000)
        await channel.wait_open(timeout_s=600)
        receipt = await channel.pay(1_000, message={"order": 7})
        await channel.close()
        summary = await channel.settle()

Amounts are integers in the smallest unit of the channel's asset, times seconds. What is signed is stored before it is
sent; what is posted is journaled before. One process at a time may use a home.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from shared.agent.packages import PaymentSigner
from shared.channels.model import Status
from shared.channels.paying import spendable
from shared.obyte.agents import AGENT_VERSIONS
from shared.obyte.coins import BASE, Balance
from shared.obyte.hub_client import HubClient
from shared.obyte.keys import generate_mnemonic, payment_key
from shared.obyte.keystore import create_keystore, open_keystore
from shared.obyte.ledger_clock import LedgerClock
from shared.obyte.networks import Network, network_named
from sluice.home import HomeLock
from sluice.payer import store as payer_store
from sluice.payer.book import ChannelBook
from sluice.payer.channel import PayerChannel
from sluice.payer.errors import UnknownChannelError, WalletError
from sluice.payer.opening import DEFAULT_TIMEOUT_S, ChannelOpener
from sluice.payer.payments import Payment, PaymentDesk, Receipt, SignedPackage
from sluice.payer.peers import PeerClient, RetryPolicy, base_url_of
from sluice.payer.posting import UnitPoster
from sluice.payer.proving import Prover
from sluice.payer.requests import RequestDesk, RequestTerms
from sluice.payer.settling import Settler
from sluice.payer.store import PayerStore
from sluice.payer.wallet import PayerWallet, SettlementSummary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from shared.channels.model import Channel
    from shared.obyte.keys import KeyPair
    from shared.obyte.serialization import JsonValue
    from shared.peers.answers import ChannelView
    from sluice.payer.store import PaymentState

ENTROPY_BYTES = 16
WALLET_FILE = "wallet.json"
STORE_FILE = "payer.sqlite3"
REQUEST_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class PayerOptions:
    """What is rarely changed. Times in seconds.

    `confirm_margin_s`: how long after the channel's timeout our closing is confirmed; the agent's clock runs late.
    `ready_wait_s`: how long the first payment of a period waits for the peer to see the deposit.
    `order_providers`: those that the ledger's proofs are checked by, instead of those that the first hub names.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    request_timeout_s: float = REQUEST_TIMEOUT_S
    hub_timeout_s: float = 30.0
    confirm_margin_s: float = 30.0
    ready_wait_s: float = 15.0
    order_providers: tuple[str, ...] = ()


class Payer:
    """One wallet that pays. Made by `Payer.open`."""

    def __init__(
        self,
        *,
        key: KeyPair,
        network: Network,
        wallet: PayerWallet,
        book: ChannelBook,
        opener: ChannelOpener,
        desk: PaymentDesk,
        settler: Settler,
        requests: RequestDesk,
    ) -> None:
        self.network = network
        self._key = key
        self._wallet = wallet
        self._book = book
        self._opener = opener
        self._desk = desk
        self._settler = settler
        self._requests = requests

    @classmethod
    @asynccontextmanager
    async def open(  # noqa: PLR0913 (all but three are injected by tests or rarely given)
        cls,
        home: Path,
        *,
        hub_url: str | None,
        network: Network | str,
        passphrase: str | None = None,
        mnemonic: str | None = None,
        options: PayerOptions | None = None,
        http: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> AsyncIterator[Payer]:
        """Open the payer whose files are in `home`; made new when there are none, from `mnemonic` or a fresh seed.

        `hub_url`: several may be given, separated by commas; when one fails the next is asked. None: payments can be
        signed and sent, the ledger is out of reach. `passphrase` encrypts the seed.
        `network`: `mainnet`, `testnet`, `devnet` or a Network. `http` is a client for requests to receivers.

        Raises HomeBusyError (another process runs on `home`), KeystoreError, WalletError, NetworkError, OSError.
        """
        chosen = options or PayerOptions()
        net = network_named(network) if isinstance(network, str) else network
        async with AsyncExitStack() as stack:
            stack.enter_context(_private_home(home))
            key = await asyncio.to_thread(_open_wallet, home, passphrase, mnemonic, random_bytes)
            store = PayerStore(home / STORE_FILE)
            stack.callback(store.close)
            await store.run(lambda db: payer_store.bind_identity(db, network=net.name, address=key.address))
            ledger_clock = LedgerClock(clock, time.monotonic)
            prover = Prover(
                address=key.address,
                network=net,
                store=store,
                clock=ledger_clock,
                monotonic=time.monotonic,
                by_hand=chosen.order_providers,
            )
            book = ChannelBook(store, await store.run(payer_store.channels))
            stack.push_async_callback(book.close)
            wallet = PayerWallet(
                address=key.address,
                network=net,
                store=store,
                book=book,
                make_client=_hub_maker(hub_url, net, chosen.hub_timeout_s),
                prover=prover,
            )
            await wallet.restore()
            poster = UnitPoster(
                key=key,
                network=net,
                wallet=wallet,
                book=book,
                store=store,
                clock=ledger_clock.now_s,
                connect_timeout_s=chosen.hub_timeout_s,
            )
            stack.push_async_callback(poster.close)
            if http is None:
                http = await stack.enter_async_context(_http_client(chosen.request_timeout_s))
            peers = PeerClient(http, policy=chosen.retry)
            following = asyncio.create_task(wallet.run(poster.repost), name="payer-wallet")
            stack.push_async_callback(_stop, following)
            desk = PaymentDesk(
                book=book,
                store=store,
                signer=PaymentSigner(key, net),
                peers=peers,
                wallet=wallet,
                clock=ledger_clock.now_s,
                random_bytes=random_bytes,
                ready_wait_s=chosen.ready_wait_s,
            )
            yield cls(
                key=key,
                network=net,
                wallet=wallet,
                book=book,
                opener=ChannelOpener(
                    address=key.address,
                    book=book,
                    store=store,
                    peers=peers,
                    poster=poster,
                    hub=lambda: wallet.connected(chosen.hub_timeout_s),
                    random_bytes=random_bytes,
                ),
                desk=desk,
                requests=RequestDesk(http, store, desk),
                settler=Settler(
                    book=book,
                    store=store,
                    wallet=wallet,
                    poster=poster,
                    clock=ledger_clock.now_s,
                    confirm_margin_s=chosen.confirm_margin_s,
                ),
            )

    @property
    def address(self) -> str:
        """The payment address of the wallet: send it the funds for deposits and fees."""
        return self._key.address

    async def balance(self, asset: str = BASE, *, timeout_s: float = 30) -> Balance:
        """Return the wallet's balance on the ledger, once in step with it. Raises LedgerError, HubError."""
        client = await self._wallet.connected(timeout_s)
        await self._wallet.read_ledger(client)
        return self._wallet.coins.balance(asset)

    async def wait_connected(self, timeout_s: float) -> None:
        """Wait until the wallet is in step with the ledger. Raises LedgerError `not_connected`."""
        await self._wallet.connected(timeout_s)

    async def open_channel(
        self,
        url: str,
        deposit: int,
        *,
        asset: str = BASE,
        timeout_s: int | None = None,
        salt: str | None = None,
        versions: Sequence[str] = AGENT_VERSIONS,
        receiver: str | None = None,
    ) -> PayerChannel:
        """Open a channel to the receiver at `url` with a first deposit, which is on its way when this returns.

        `versions` of the channels agent are offered in turn. In a channel of 1.1 the receiver can take our deposit, and
        JavaScript receivers know no other one. `receiver`: the address it must receive at, when known.

        `timeout_s`: how long our closing must wait for the peer (default 1000). Give a `salt` of your own to be able
        to repeat the call after a crash or an error: the same salt never opens a second channel to the same peer.

        Raises ChannelOpeningError and others, after which no money has left nor will: see `ChannelOpener.open`. A hub
        that does not answer after the deposit was journaled is no error: it is posted until the ledger has it.
        """
        timeout = DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s
        opened = self._opener.open(
            url, deposit, asset=asset, timeout_s=timeout, salt=salt, versions=versions, receiver=receiver
        )
        return self.channel(await opened)

    def channel(self, aa_address: str) -> PayerChannel:
        """Return the channel with this address. Raises UnknownChannelError."""
        return PayerChannel(self, self.state(aa_address).aa_address)

    def channels(self) -> tuple[PayerChannel, ...]:
        """Return all channels, oldest first."""
        return tuple(PayerChannel(self, item.state.aa_address) for item in self._book.all())

    def state(self, aa_address: str) -> Channel:
        """Return what is known of a channel now. Raises UnknownChannelError."""
        return self._book[aa_address].state

    def peer_url(self, aa_address: str) -> str:
        """Return the base URL of the channel's receiver. Raises UnknownChannelError."""
        return self._book[aa_address].peer_url

    async def wait_open(self, aa_address: str, timeout_s: float | None = None) -> Channel:
        """Wait until the agent has taken the deposit (proven stable). Raises LedgerError `timeout`, `bounced`."""
        return await self._settler.wait_open(aa_address, timeout_s)

    async def wait_spendable(self, aa_address: str, amount: int, timeout_s: float | None = None) -> Channel:
        """Wait until deposits that the agent has taken cover a payment; raises LedgerError `timeout`, `bounced`."""
        return await self._settler.wait_spendable(aa_address, amount, timeout_s)

    async def pay(self, target: str, amount: int, *, message: JsonValue = None, asset: str = BASE) -> Receipt:
        """Pay through a channel, given by its address or by its receiver's URL (and then by asset).

        Safe to call concurrently. After PaymentRefusedError and PaymentUncertainError `resend` may be called with their
        `payment_id`; after any other error nothing was signed. See `PaymentDesk.pay`.
        """
        aa_address = self._channel_to(target, amount, asset) if "://" in target else target
        return await self._desk.pay(aa_address, amount, message)

    async def request(self, url: str) -> RequestTerms:
        """Read a payment request, given by the address of its page. Raises RequestError, PeerUnreachableError."""
        return await self._requests.look(url)

    async def pay_request(
        self, url: str, amount: int | None = None, *, at_most: int | None = None, deposit: int | None = None
    ) -> Receipt:
        """Pay what is due of a payment request, or a part of it. A request that is not payable any more is not paid.

        `at_most`: pay no more than this. `deposit`: what to open a channel with, or to add to one, if none has enough;
        without it UnknownChannelError is raised. Safe to call again after PaymentUncertainError or a crash: a payment
        for the request whose fate is unknown is sent again before anything new is signed.

        Raises RequestError and PeerUnreachableError, and what `open_channel`, `deposit` and `pay` raise.
        """
        return await self._requests.pay(self, url, amount, at_most=at_most, deposit=deposit)

    async def create_package(self, aa_address: str, amount: int) -> SignedPackage:
        """Sign a payment for the caller to bring to the peer himself; see `PaymentDesk.create_package`."""
        return await self._desk.create_package(aa_address, amount)

    async def package(self, payment_id: int) -> SignedPackage:
        """Return the package of an earlier payment, to be brought again. Raises PayerError `unknown_payment`."""
        return await self._desk.package(payment_id)

    async def note(self, payment_id: int, *, accepted: bool, code: str | None = None) -> None:
        """Write down what the peer said to such a package; see `PaymentDesk.note`."""
        await self._desk.note(payment_id, accepted=accepted, code=code)

    async def resynchronise(self, aa_address: str, view: ChannelView, *, at_most: int) -> int:
        """Give in to the peer's higher record of what we have spent; see `PaymentDesk.resynchronise`."""
        return await self._desk.resynchronise(aa_address, view, at_most=at_most)

    async def resend(self, payment_id: int) -> Receipt:
        """Send the identical package of a payment again; it is credited once. Raises as `pay`."""
        return await self._desk.resend(payment_id)

    async def payments(
        self, *, state: PaymentState | None = None, aa_address: str | None = None
    ) -> tuple[Payment, ...]:
        """Return payments on record, oldest first; with `state="signed"` those whose fate is unknown."""
        return await self._desk.payments(state, aa_address)

    async def deposit(self, aa_address: str, amount: int) -> None:
        """Add a deposit to an open channel. Raises PayerError, CompositionError, LedgerError, HubError."""
        await self._settler.deposit(aa_address, amount)

    async def close(self, aa_address: str) -> None:
        """Close the channel's period; see `Settler.close`. `settle` waits for the end."""
        await self._settler.close(aa_address)

    async def settle(self, aa_address: str, timeout_s: float | None = None) -> SettlementSummary:
        """Bring the channel's period to its end and return how it ended; see `Settler.settle`."""
        return await self._settler.settle(aa_address, timeout_s)

    wait_closed = settle

    def _channel_to(self, url: str, amount: int, asset: str) -> str:
        base_url = base_url_of(url)
        usable = [
            item.state
            for item in self._book.all()
            if (item.peer_url, item.state.asset) == (base_url, asset) and not item.state.is_closing
        ]
        if not usable:
            raise UnknownChannelError("unknown_channel", "there is no channel to this receiver in this asset")
        # The open ones before those that wait for their deposit, then the first that has enough.
        usable.sort(key=lambda state: (state.status is not Status.OPEN, spendable(state) < amount))
        return usable[0].aa_address


def _private_home(home: Path) -> HomeLock:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return HomeLock(home)


def _open_wallet(
    home: Path, passphrase: str | None, mnemonic: str | None, random_bytes: Callable[[int], bytes]
) -> KeyPair:
    path = home / WALLET_FILE
    if not path.exists():
        if (home / STORE_FILE).exists():
            raise WalletError("no_wallet", "the home has payments on record, but its wallet file is missing")
        create_keystore(path, mnemonic or generate_mnemonic(random_bytes(ENTROPY_BYTES)), passphrase)
    key = payment_key(open_keystore(path, passphrase))
    if mnemonic is not None and payment_key(mnemonic).address != key.address:
        raise WalletError("another_wallet", "the home has the wallet of another seed phrase")
    return key


def _hub_maker(hub_url: str | None, network: Network, timeout_s: float) -> Callable[[], HubClient] | None:
    if hub_url is None:
        return None
    # Every connection that ends is followed by one to the next hub in the list.
    hubs = itertools.cycle(hub_url.split(","))
    return lambda: HubClient(next(hubs), network, program="sluice-payer", request_timeout_s=timeout_s)


def _http_client(timeout_s: float) -> httpx.AsyncClient:
    # No proxies from the environment and no redirects: packages go to the receiver and to nobody else.
    return httpx.AsyncClient(
        timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
        follow_redirects=False,
        trust_env=False,
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=100),
    )


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
