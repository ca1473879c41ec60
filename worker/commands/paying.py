"""`pay` and `resend`: packages of ours, signed and on record before they leave, delivered as the same bytes.

    asked whether the peer is ready ─▶ signed ─▶ delivered: the command has succeeded
    (once in a period)                    ├────▶ refused: it has failed; the amount stays counted, the peer may hold it
                                          └────▶ uncertain: no answer; `resend` delivers the same package again

A command signs one package, however often it is cut off: the package carries the command's number.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from shared.logs import get_logger
from shared.orders import OrderError, Pay, Resend
from shared.peers.errors import PeerError, PeerRefusedError, UnansweredError
from shared.store import channels, contacts, sent_payments
from shared.store.sent_payments import MAX_ANSWER_BYTES, SentState
from worker.commands.kinds import Done, Kind, Lane, RefusedError
from worker.commands.signing import check_payable, facts, sign_payment, terms_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.agent.packages import PaymentSigner
    from shared.store.channel_rows import StoredChannel
    from shared.store.commands import Command
    from shared.store.database import Connection
    from shared.store.sent_payments import SentPayment
    from worker.guard import Guard
    from worker.peers.peers import Peers
    from worker.peers.transport import PeerTransport

logger = get_logger(__name__)

MAX_MESSAGE_BYTES = 32_768
"""A receiver takes requests of up to 64 KiB."""
_UNKNOWN_THERE = frozenset({"unknown_channel", "aa address not known"})
PaymentT = TypeVar("PaymentT", Pay, Resend)


@dataclass(frozen=True, slots=True)
class PayingPace:
    """How long peers are waited for, in seconds."""

    ready_s: float = 15.0
    """For a peer to see our deposit, before anything is signed."""
    delivery_s: float = 30.0
    """For the answer to a package, over several attempts."""


@dataclass(frozen=True, slots=True)
class _Peer:
    stored: StoredChannel
    way: PeerTransport


class _Payment(Kind[PaymentT]):
    """Delivers a package and keeps what the peer says."""

    lane = Lane.PEER

    def __init__(self, guard: Guard, peers: Peers, *, monotonic: Callable[[], float], pace: PayingPace) -> None:
        self._guard = guard
        self._peers = peers
        self._monotonic = monotonic
        self._pace = pace
        self._since_s: dict[tuple[int, str], float] = {}

    async def follow(self, command: Command, order: PaymentT) -> Done | None:
        """Take the next step, and forget the command when there is none left."""
        try:
            outcome = await self._step(command, order)
        except RefusedError:
            self._forget(command)
            raise
        if outcome is not None:
            self._forget(command)
        return outcome

    @abstractmethod
    async def _step(self, command: Command, order: PaymentT) -> Done | None:
        """Return the outcome, None when there is more to do. Raises RefusedError."""

    async def _peer(self, conn: Connection, command: Command, named: str | None) -> _Peer:
        """Return the channel and the way to its peer; `named` is where the order says that he is.

        A URL that only the peer has told is not used: whoever opens a channel with us could have us contact any
        address. Raises RefusedError.
        """
        aa_address = command.aa_address or ""
        stored = (await channels.find(conn, [aa_address])).get(aa_address)
        contact = await contacts.of(conn, aa_address)
        if stored is None or contact is None:
            raise RefusedError("unknown_channel", f"there is no channel {aa_address}")
        place = named or (contact.url if stored.role == "B" else None) or contact.device
        if place is None:
            raise RefusedError("no_contact", "nobody has said where the peer is reached: name it as `peer`")
        try:
            return _Peer(stored, self._peers.to(place))
        except PeerError as error:
            raise RefusedError(error.code, error.text) from error

    async def _deliver(self, command: Command, payment: SentPayment, way: PeerTransport) -> Done | None:
        """Send a package once; None when it is to be sent again soon. Raises RefusedError."""
        params: dict[str, Any] = {"signed_package": json.loads(payment.package)}
        if payment.message is not None:
            params["message"] = json.loads(payment.message)
        try:
            answer = await way.request("pay", params)
        except PeerRefusedError as error:
            said = {"error": error.text, "code": error.code}
            await self._settle(payment, SentState.REFUSED, said)
            raise RefusedError("peer_refused", error.text, facts(payment) | said) from error
        except UnansweredError as error:
            logger.warning("payment_unanswered", command=command.id, code=error.code, reason=error.text)
            if self._is_within(command, "delivery", self._pace.delivery_s):
                return None
            await self._settle(payment, SentState.UNCERTAIN, None)
            raise RefusedError("uncertain", f"nobody knows whether it arrived: {error.text}", facts(payment)) from error
        await self._settle(payment, SentState.DELIVERED, answer)
        return _delivered(payment, answer)

    async def _settle(self, payment: SentPayment, state: SentState, answer: Mapping[str, Any] | None) -> None:
        text = None if answer is None else json.dumps(answer)
        if text is not None and len(text) > MAX_ANSWER_BYTES:
            text = json.dumps({"response": None, "is_cut": True})
        async with self._guard.transaction() as conn:
            await sent_payments.settle(conn, payment, state, text)

    def _is_within(self, command: Command, what: str, seconds: float) -> bool:
        """Whether less than this has passed since the command first asked."""
        since_s = self._since_s.setdefault((command.id, what), self._monotonic())
        return self._monotonic() < since_s + seconds

    def _forget(self, command: Command) -> None:
        for key in [key for key in self._since_s if key[0] == command.id]:
            del self._since_s[key]


class PayKind(_Payment[Pay]):
    """Pays the peer of a channel."""

    order = Pay

    def __init__(
        self, guard: Guard, peers: Peers, signer: PaymentSigner, *, monotonic: Callable[[], float], pace: PayingPace
    ) -> None:
        super().__init__(guard, peers, monotonic=monotonic, pace=pace)
        self._signer = signer
        self._ready: dict[str, int] = {}
        self._unknown_there: set[str] = set()

    async def start(self, conn: Connection, command: Command, order: Pay) -> Mapping[str, Any]:
        """Refuse what could not be paid now, before anybody is asked."""
        if len(_message_text(order) or "") > MAX_MESSAGE_BYTES:
            raise RefusedError(OrderError.code, f"message: must not have more than {MAX_MESSAGE_BYTES} bytes of JSON")
        await self._peer(conn, command, order.peer)
        await check_payable(conn, command, order.amount)
        return {}

    async def _step(self, command: Command, order: Pay) -> Done | None:
        """Ask, sign, deliver: one of them at a time."""
        async with self._guard.reading() as conn:
            payment = await sent_payments.of_command(conn, command.id)
            if payment is not None and payment.state is not SentState.SIGNED:
                return _known_outcome(payment)
            peer = await self._peer(conn, command, order.peer)
        if payment is None:
            if not await self._is_ready(command, peer):
                return None
            is_new = peer.stored.channel.aa_address in self._unknown_there
            announce = terms_of(peer.stored) if is_new else None
            payment = await sign_payment(
                self._guard, self._signer, command, order.amount, message=_message_text(order), announce=announce
            )
        return await self._deliver(command, payment, peer.way)

    async def _is_ready(self, command: Command, peer: _Peer) -> bool:
        """Ask the peer once in a period whether he could take a payment. Raises RefusedError: nothing was signed."""
        aa_address, period = peer.stored.channel.aa_address, peer.stored.channel.current_period
        if self._ready.get(aa_address) == period:
            return True
        try:
            answer = await peer.way.request("is_ready", {"aa_address": aa_address})
            is_ready, reason = answer.get("response") is True, "he says nothing about why"
        except PeerRefusedError as error:
            # A peer who has forgotten the channel, or never heard of it, learns of it from our package.
            is_unknown = error.code in _UNKNOWN_THERE or error.text in _UNKNOWN_THERE
            is_ready, reason = is_unknown and peer.stored.role == "B", error.text
            if is_ready:
                self._unknown_there.add(aa_address)
        except UnansweredError as error:
            if self._is_within(command, "ready", self._pace.ready_s):
                return False
            raise RefusedError(error.code, error.text) from error
        if is_ready:
            self._ready[aa_address] = period
        elif not self._is_within(command, "ready", self._pace.ready_s):
            raise RefusedError("peer_not_ready", f"the peer takes no payments yet: {reason}")
        return is_ready


class ResendKind(_Payment[Resend]):
    """Delivers a package of ours again."""

    order = Resend

    async def start(self, conn: Connection, command: Command, order: Resend) -> Mapping[str, Any]:
        """Refuse what was never signed."""
        await self._payment(conn, command, order)
        await self._peer(conn, command, order.peer)
        return {}

    async def _step(self, command: Command, order: Resend) -> Done | None:
        """Deliver it, unless it is known to be delivered."""
        async with self._guard.reading() as conn:
            payment = await self._payment(conn, command, order)
            if payment.state is SentState.DELIVERED:
                return _known_outcome(payment)
            peer = await self._peer(conn, command, order.peer)
        return await self._deliver(command, payment, peer.way)

    @staticmethod
    async def _payment(conn: Connection, command: Command, order: Resend) -> SentPayment:
        payment = await sent_payments.get(conn, command.aa_address or "", order.period, order.amount_spent)
        if payment is None:
            raise RefusedError("unknown_payment", "no package with this amount_spent was signed in the period")
        return payment


def _known_outcome(payment: SentPayment) -> Done:
    """What is on record of a package that is settled. Raises RefusedError."""
    said = json.loads(payment.answer) if payment.answer is not None else {}
    if payment.state is SentState.DELIVERED:
        return _delivered(payment, said)
    if payment.state is SentState.REFUSED:
        raise RefusedError("peer_refused", str(said.get("error", "the peer refuses it")), facts(payment) | said)
    raise RefusedError("uncertain", "nobody knows whether it arrived", facts(payment))


def _delivered(payment: SentPayment, answer: Mapping[str, Any]) -> Done:
    return Done(facts(payment) | {"response": answer.get("response"), "receipt": answer.get("receipt")})


def _message_text(order: Pay) -> str | None:
    return None if order.message is None else json.dumps(order.message, separators=(",", ":"))
