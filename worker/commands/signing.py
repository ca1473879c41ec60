"""Signing packages of ours: on record, with what they add to our spending, in the transaction that decides it.

`sign` is the command of who delivers the package himself. However often it is cut off, it signs one package, which
carries the command's number. Whoever asked finds it in the result, sealed for him.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.agent.packages import ChannelTerms, PaymentSigner
from shared.channels.paying import PaymentOrder, create_payment
from shared.logs import get_logger
from shared.orders import OrderError, Sign
from shared.sealing import SealingError, seal
from shared.store import channels, contacts, deposits, sent_payments
from shared.store.sent_payments import NewSentPayment
from worker.commands.kinds import Done, Kind, RefusedError, is_peer_closing, locked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.store.channel_rows import StoredChannel
    from shared.store.commands import Command
    from shared.store.database import Connection
    from shared.store.sent_payments import SentPayment
    from worker.guard import Guard

logger = get_logger(__name__)


async def check_payable(conn: Connection, command: Command, amount: int) -> PaymentOrder:
    """Lock the command's channel and order the payment. Raises RefusedError, ChannelError."""
    aa_address = command.aa_address or ""
    return create_payment(
        await locked(conn, command),
        amount,
        pending_deposits=await deposits.pending_amount(conn, aa_address),
        peer_is_closing=await is_peer_closing(conn, aa_address),
    )


async def sign_payment(
    guard: Guard,
    signer: PaymentSigner,
    command: Command,
    amount: int,
    *,
    message: str | None = None,
    announce: ChannelTerms | None = None,
) -> SentPayment:
    """Sign the package and record it with what it adds to our spending, in one transaction.

    `announce`: the channel's terms, while the peer is not known to know it. Raises RefusedError, ChannelError,
    StoreError.
    """
    async with guard.marked() as conn:
        ordered = await check_payable(conn, command, amount)
        signed = signer.sign(ordered, announce)
        await channels.save_transition(conn, ordered.channel)
        payment = await sent_payments.add(
            conn,
            NewSentPayment(
                aa_address=signed.aa_address,
                period=signed.period,
                payment_amount=signed.payment_amount,
                amount_spent=signed.amount_spent,
                package=signed.package,
                message=message,
            ),
            command_id=command.id,
        )
    logger.info("payment_signed", command=command.id, aa_address=payment.aa_address, period=payment.period)
    return payment


def terms_of(stored: StoredChannel) -> ChannelTerms:
    """Return what a package says of a channel that its receiver may not know."""
    channel = stored.channel
    return ChannelTerms(channel.own_address, channel.asset, channel.timeout_s, channel.version, stored.salt)


def facts(payment: SentPayment) -> dict[str, Any]:
    """Return what may be told of a package of ours."""
    return {"period": payment.period, "amount": payment.payment_amount, "amount_spent": payment.amount_spent}


class SignKind(Kind[Sign]):
    """Signs a package for who delivers it himself."""

    order = Sign

    def __init__(self, guard: Guard, signer: PaymentSigner) -> None:
        self._guard = guard
        self._signer = signer

    async def start(self, conn: Connection, command: Command, order: Sign) -> Mapping[str, Any]:
        """Refuse what could not be signed, or not be handed over."""
        try:
            seal("", order.seal_to)
        except SealingError as error:
            raise RefusedError(OrderError.code, f"seal_to: {error}") from None
        await check_payable(conn, command, order.amount)
        return {}

    async def follow(self, command: Command, order: Sign) -> Done:
        """Sign it once, and hand it over."""
        async with self._guard.reading() as conn:
            payment = await sent_payments.of_command(conn, command.id)
            announce = None if payment is not None else await _unannounced(conn, command.aa_address or "")
        if payment is None:
            payment = await sign_payment(self._guard, self._signer, command, order.amount, announce=announce)
        return Done(facts(payment) | {"sealed_package": seal(payment.package, order.seal_to)})


async def _unannounced(conn: Connection, aa_address: str) -> ChannelTerms | None:
    """Return the terms of a channel that we have opened without asking its peer: he learns of it from packages."""
    stored = (await channels.find(conn, [aa_address])).get(aa_address)
    contact = await contacts.of(conn, aa_address)
    if stored is None or contact is None or stored.role == "A" or contact.url or contact.device:
        return None
    return terms_of(stored)
