"""Paying: ordered, signed and stored first, then sent; the same bytes again when nobody knows what became of them.

    signed ──the peer's receipt──> accepted
        │ no answer: PaymentUncertainError, still signed, can be sent again at any time
        └ an error: refused, PaymentRefusedError; the peer may hold the package, so it can be sent again all the same

Before the first payment of a period the peer is asked whether it is ready: it may see the deposit a little later than
we do, and a package that it refuses would still count. For an amount once signed stays counted in its period, whatever
the peer answered: he may hold the package. At the closing of the channel he gets no more than the packages he can show.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from shared.channels.paying import create_payment, spendable
from shared.peers.answers import PeerAnswer
from sluice.payer import store as payer_store
from sluice.payer.errors import PayerError, PaymentRefusedError, PaymentUncertainError, PeerUnreachableError
from sluice.payer.signing import pay_request

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from shared.agent.packages import PaymentSigner
    from shared.obyte.serialization import JsonValue
    from shared.peers.answers import ChannelView
    from sluice.payer.book import ChannelBook
    from sluice.payer.peers import PeerClient
    from sluice.payer.store import PayerStore, PaymentState, StoredChannel, StoredPayment
    from sluice.payer.wallet import PayerWallet

READY_PAUSE_S = 0.1
LONGEST_READY_PAUSE_S = 1.0
MAX_MESSAGE_BYTES = 32_768
"""A receiver takes requests of up to 64 KiB."""
TAG_BYTES = 30


@dataclass(frozen=True, slots=True)
class Receipt:
    """A payment that the peer took. Amounts in the channel's asset.

    `response` is what the peer's application said. `duplicate`: the peer had taken the same package before.
    `receiver_payment_id`: the payment's number at the peer, None if it gives none. `code`: None, or
    `application_failed`: the peer's application has not answered; sending the package again asks it again.
    """

    payment_id: int
    aa_address: str
    period: int
    amount: int
    amount_spent: int
    response: JsonValue = field(default=None, repr=False)
    duplicate: bool = False
    receiver_payment_id: int | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class SignedPackage:
    """A payment that was signed and stored, to be brought to the peer some other way than by the peer protocol.

    `package` is its JSON text, worth money to whoever brings it to the peer.
    """

    payment_id: int
    aa_address: str
    period: int
    amount: int
    amount_spent: int
    package: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as the payer has it on record: `state` is `signed` (fate unknown), `accepted` or `refused`."""

    id: int
    aa_address: str
    period: int
    amount: int
    amount_spent: int
    state: PaymentState


class PaymentDesk:
    """Signs and sends the payments of one payer."""

    def __init__(
        self,
        *,
        book: ChannelBook,
        store: PayerStore,
        signer: PaymentSigner,
        peers: PeerClient,
        wallet: PayerWallet,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        ready_wait_s: float,
    ) -> None:
        self._book = book
        self._store = store
        self._signer = signer
        self._peers = peers
        self._wallet = wallet
        self._clock = clock
        self._random_bytes = random_bytes
        self._ready_wait_s = ready_wait_s
        self._ready: dict[str, int] = {}
        self._asking = asyncio.Lock()

    async def pay(self, aa_address: str, amount: int, message: JsonValue = None) -> Receipt:
        """Sign one payment, store it, send it. `message` is JSON for the peer's application.

        Nothing was signed when it raises ChannelError, UnknownChannelError, PeerUnreachableError or PayerError
        (`invalid_message`, `peer_not_ready`). Raises also PaymentRefusedError and PaymentUncertainError.
        """
        return await self._deliver(await self._sign(aa_address, amount, _message_text(message)))

    async def create_package(self, aa_address: str, amount: int) -> SignedPackage:
        """Sign one payment and store it, for the caller to bring to the peer; then `note` what the peer said.

        The amount counts as spent from now on. Nothing was signed when it raises, and it raises as `pay` does then.
        """
        return _package_of(await self._sign(aa_address, amount, None))

    async def package(self, payment_id: int) -> SignedPackage:
        """Return the package of an earlier payment, to be brought again. Raises PayerError `unknown_payment`."""
        return _package_of(await self._store.run(lambda db: payer_store.payment_of(db, payment_id)))

    async def note(self, payment_id: int, *, accepted: bool, code: str | None = None) -> None:
        """Write down that the peer took a package, or (with its code) that it would not.

        Raises PayerError `unknown_payment`.
        """
        payment = await self._store.run(lambda db: payer_store.payment_of(db, payment_id))
        answer = PeerAnswer(response=None) if accepted else PeerAnswer(error="refused", code=code)
        await self._record(payment, answer)

    async def resynchronise(self, aa_address: str, view: ChannelView, *, at_most: int) -> int:
        """Take over the peer's record of what we have spent if it is higher than ours; return by how much it was.

        Ours is too low after our files were restored from a backup. The peer can prove nothing here: what it claims
        costs us money at the closing. So `at_most` is how much may be given in to it; more raises PayerError
        `out_of_step`, and nothing changes. A view of another period changes nothing either.
        """

        def work(_: sqlite3.Connection, channel: StoredChannel) -> tuple[StoredChannel, int]:
            state = channel.state
            behind = view.amount_spent - state.spent_by_me
            if view.period != state.current_period or behind <= 0:
                return channel, 0
            if behind > at_most or behind > spendable(state):
                raise PayerError(
                    "out_of_step",
                    f"the receiver has recorded {behind} more than we have: our files are from a backup, or it lies",
                )
            return replace(channel, state=replace(state, spent_by_me=view.amount_spent)), behind

        return await self._book.change(aa_address, work)

    async def _sign(self, aa_address: str, amount: int, message: str | None) -> StoredPayment:
        now_s = self._clock()
        peer_is_closing = self._wallet.is_peer_closing(aa_address)
        if self._ready.get(aa_address) != self._book[aa_address].state.current_period:
            pending = await self._store.run(lambda db: payer_store.pending_deposits(db, aa_address))
            state = self._book[aa_address].state
            create_payment(state, amount, pending_deposits=pending, peer_is_closing=peer_is_closing)
            await self._await_ready(aa_address)

        def work(connection: sqlite3.Connection, channel: StoredChannel) -> tuple[StoredChannel, StoredPayment]:
            pending = payer_store.pending_deposits(connection, aa_address)
            order = create_payment(channel.state, amount, pending_deposits=pending, peer_is_closing=peer_is_closing)
            signed = self._signer.sign(order, None if channel.is_known_by_peer else channel.terms)
            payment = payer_store.insert_payment(connection, signed, message, now_s)
            return replace(channel, state=order.channel), payment

        return await self._book.change(aa_address, work)

    async def resend(self, payment_id: int) -> Receipt:
        """Send the identical package of an earlier payment again; the peer credits it once, however often it comes.

        Raises PayerError `unknown_payment`, PaymentRefusedError, PaymentUncertainError.
        """
        return await self._deliver(await self._store.run(lambda db: payer_store.payment_of(db, payment_id)))

    async def payments(self, state: PaymentState | None = None, aa_address: str | None = None) -> tuple[Payment, ...]:
        """Return payments on record, oldest first, of one state or one channel where given."""
        found = await self._store.run(lambda db: payer_store.payments(db, state=state, aa_address=aa_address))
        return tuple(
            Payment(item.id, item.aa_address, item.period, item.payment_amount, item.amount_spent, item.state)
            for item in found
        )

    async def _await_ready(self, aa_address: str) -> None:
        """Ask the peer until it could take a payment. Raises PayerError `peer_not_ready`, PeerUnreachableError."""
        async with self._asking:
            period = self._book[aa_address].state.current_period
            deadline_s = asyncio.get_running_loop().time() + self._ready_wait_s
            pause_s = READY_PAUSE_S
            while self._ready.get(aa_address) != period:
                answer = await self._peers.ask(self._book[aa_address].peer_url, lambda: self._is_ready_body(aa_address))
                if answer.error is None and answer.response is True:
                    self._ready[aa_address] = period
                elif answer.code == "unknown_channel":
                    await self._announce(aa_address)  # the packages will tell what the peer has forgotten
                    self._ready[aa_address] = period
                elif asyncio.get_running_loop().time() + pause_s > deadline_s:
                    raise PayerError("peer_not_ready", f"the peer takes no payments yet: {answer.error}")
                else:
                    await asyncio.sleep(pause_s)
                    pause_s = min(LONGEST_READY_PAUSE_S, 2 * pause_s)

    def _is_ready_body(self, aa_address: str) -> bytes:
        request = {
            "command": "is_ready",
            "params": {"aa_address": aa_address},
            "tag": self._random_bytes(TAG_BYTES).hex(),
            "timestamp": int(self._clock() * 1000),
        }
        return json.dumps(request).encode()

    async def _announce(self, aa_address: str) -> None:
        await self._book.change(aa_address, lambda _, channel: (replace(channel, is_known_by_peer=False), None))

    async def _deliver(self, payment: StoredPayment) -> Receipt:
        def body() -> bytes:
            tag = self._random_bytes(TAG_BYTES).hex()
            return pay_request(payment.package, payment.message, tag=tag, timestamp_ms=int(self._clock() * 1000))

        try:
            answer = await self._peers.ask(self._book[payment.aa_address].peer_url, body)
        except PeerUnreachableError as error:
            raise PaymentUncertainError(error.code, str(error), payment_id=payment.id) from error
        await self._record(payment, answer)
        if answer.error is not None:
            raise PaymentRefusedError(answer.code or "refused", answer.error, answer.view, payment_id=payment.id)
        told = answer.receipt or {}
        number = told.get("payment_id")
        return Receipt(
            payment_id=payment.id,
            aa_address=payment.aa_address,
            period=payment.period,
            amount=payment.payment_amount,
            amount_spent=payment.amount_spent,
            response=answer.response,
            duplicate=told.get("duplicate") is True,
            receiver_payment_id=number if isinstance(number, int) else None,
            code=answer.code,
        )

    async def _record(self, payment: StoredPayment, answer: PeerAnswer) -> None:
        state: PaymentState = "accepted" if answer.error is None else "refused"
        said: JsonValue = answer.response if answer.error is None else {"error": answer.error, "code": answer.code}
        text = json.dumps(said)

        def work(connection: sqlite3.Connection, channel: StoredChannel) -> tuple[StoredChannel, None]:
            payer_store.settle_payment(connection, payment.id, state, text)
            if state == "accepted" or answer.code == "unknown_channel":
                # A peer that lost the channel is told its parameters with the next packages.
                return replace(channel, is_known_by_peer=state == "accepted"), None
            return channel, None

        await self._book.change(payment.aa_address, work)


def _package_of(payment: StoredPayment) -> SignedPackage:
    return SignedPackage(
        payment_id=payment.id,
        aa_address=payment.aa_address,
        period=payment.period,
        amount=payment.payment_amount,
        amount_spent=payment.amount_spent,
        package=payment.package,
    )


def _message_text(message: JsonValue) -> str | None:
    if message is None:
        return None
    try:
        text = json.dumps(message, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise PayerError("invalid_message", "the message must be JSON") from error
    if len(text) > MAX_MESSAGE_BYTES:
        raise PayerError("invalid_message", f"the message must not have more than {MAX_MESSAGE_BYTES} bytes of JSON")
    return text
