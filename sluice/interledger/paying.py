"""Signing claims of Obyte channels: stored first, then shown.

`PayerPays` pays from a channel of a `Payer`, which has a wallet, a ledger and a file of its own. `ChannelPays` has a
key and a `ClaimBook` only; what is in the channel it is told.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.channels.errors import ChannelError
from shared.channels.paying import create_payment
from shared.interledger.plugin.errors import MoneyNotSentError, NotAcceptedError
from shared.peers.answers import ChannelView
from shared.receiving.errors import PackageRefused
from shared.receiving.verification import verify_payment_package
from sluice.payer.errors import PayerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.agent.packages import PaymentSigner
    from shared.channels.model import Channel
    from shared.interledger.channel_plugin.ports import Package
    from shared.interledger.claims import Claim
    from shared.obyte.networks import Network
    from sluice.interledger.book import ClaimBook
    from sluice.payer.payer import Payer


class ChannelPays:
    """Pays with one key. `channel` gives the channel as the ledger has it now; what was signed in it is the book's."""

    def __init__(self, book: ClaimBook, signer: PaymentSigner, channel: Callable[[], Channel]) -> None:
        self._book = book
        self._signer = signer
        self._channel = channel

    @property
    def aa_address(self) -> str:
        """Which channel it is."""
        return self._channel().aa_address

    async def sign(self, amount: int) -> Package:
        """Sign and keep a claim of `amount` more. Raises MoneyNotSentError."""
        channel = self._channel()

        def sign(highest: int) -> tuple[int, Package]:
            # The ledger may tell of more than the book does, if the book is from a backup.
            order = create_payment(replace(channel, spent_by_me=max(highest, channel.spent_by_me)), amount)
            signed = self._signer.sign(order)
            return signed.amount_spent, json.loads(signed.package)

        try:
            return await self._book.sign(channel.aa_address, channel.current_period, sign)
        except ChannelError as error:
            raise MoneyNotSentError(str(error)) from None

    async def newest(self) -> Package | None:
        """Return the highest claim of the newest period."""
        return await self._book.newest_signed(self.aa_address)

    async def acknowledged(self, claim: Claim) -> None:
        """Nothing is to be noted: the newest claim stays what would be sent again."""

    async def recover(self, claim: Claim) -> None:
        """Go on from a claim of ours. Raises NotAcceptedError if it is none."""
        _check_ours(claim, self._signer.key.address, self._signer.network)
        await self._book.recover(claim.aa_address, claim.period, claim.amount_spent, claim.package)


class PayerPays:
    """Pays from one channel of a payer; its file remembers the claims."""

    def __init__(self, payer: Payer, aa_address: str, network: Network) -> None:
        self._payer = payer
        self._aa_address = aa_address
        self._network = network
        self._ids: dict[tuple[int, int], int] = {}

    @property
    def aa_address(self) -> str:
        """Which channel it is."""
        return self._aa_address

    async def sign(self, amount: int) -> Package:
        """Sign and store a claim of `amount` more. Raises MoneyNotSentError."""
        try:
            signed = await self._payer.create_package(self._aa_address, amount)
        except (ChannelError, PayerError) as error:
            raise MoneyNotSentError(str(error)) from None
        self._ids[signed.period, signed.amount_spent] = signed.payment_id
        package: Package = json.loads(signed.package)
        return package

    async def newest(self) -> Package | None:
        """Return the highest claim of the newest period."""
        payments = await self._payer.payments(aa_address=self._aa_address)
        newest = max(payments, key=lambda payment: (payment.period, payment.amount_spent), default=None)
        if newest is None:
            return None
        self._ids[newest.period, newest.amount_spent] = newest.id
        package: Package = json.loads((await self._payer.package(newest.id)).package)
        return package

    async def acknowledged(self, claim: Claim) -> None:
        """Note it in the payer's file."""
        payment_id = self._ids.pop((claim.period, claim.amount_spent), None)
        if payment_id is not None:
            await self._payer.note(payment_id, accepted=True)

    async def recover(self, claim: Claim) -> None:
        """Go on from a claim of ours. Raises NotAcceptedError if it is none, or more than the channel holds."""
        _check_ours(claim, self._payer.address, self._network)
        # It is proven by our own signature, so there is no reason to give in to less of it.
        view = ChannelView(claim.period, claim.amount_spent, 0, "")
        try:
            await self._payer.resynchronise(self._aa_address, view, at_most=claim.amount_spent)
        except PayerError as error:
            raise NotAcceptedError(str(error)) from None


def _check_ours(claim: Claim, address: str, network: Network) -> None:
    try:
        signer = verify_payment_package(dict(claim.package), network).terms.signer
    except PackageRefused as error:
        raise NotAcceptedError(f"what the peer shows is no claim: {error.code}") from None
    if signer != address:
        raise NotAcceptedError("the claim that the peer shows is not ours")
