"""Taking the claims of a peer over Obyte channels: the same rules as for every package, and money by what it adds.

    the claim                                             becomes
    ----------------------------------------------------  ----------------------------------------------------------
    its signature does not hold, or is not the payer's    NotAcceptedError (F00)
    its channel is none of this peer's                    TransferNotFoundError (F03)
    no higher than one that is kept, of its period        taken, adds nothing (CLM-3)
    its period is over, or a closing is under way         AlreadyRolledBackError (F06)
    its period has not begun as far as we know            UnreachableError (T00): the ledger may be ahead of us
    more than the channel secures                         InsufficientBalanceError (F08)
    the channel is not ready yet                          UnreachableError (T00)
    anything else that `shared.channels` refuses          NotAcceptedError (F00)
    above all that, higher than what is kept              kept, and adds the difference (CLM-2)

`payment_amount` of a package buys a service elsewhere; here it is not looked at.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from shared.channels.acceptance import Refused, Rule, accept
from shared.channels.model import Allowance, Channel, PackageTerms
from shared.interledger.claims import ChannelState
from shared.interledger.plugin.errors import (
    AlreadyRolledBackError,
    InsufficientBalanceError,
    LedgerPluginError,
    NotAcceptedError,
    TransferNotFoundError,
    UnreachableError,
)
from shared.receiving.errors import PackageRefused
from shared.receiving.verification import verify_payment_package

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from shared.interledger.channel_plugin import Credit
    from shared.interledger.channel_plugin.ports import Package
    from shared.interledger.claims import Claim, PayeeInfo
    from shared.obyte.networks import Network
    from sluice.interledger.book import ClaimBook

_ERRORS: Final[dict[Rule, type[LedgerPluginError]]] = {
    Rule.WRONG_CHANNEL: TransferNotFoundError,
    Rule.CLOSING: AlreadyRolledBackError,
    Rule.PERIOD_CLOSED_BY_ME: AlreadyRolledBackError,
    Rule.UNCONFIRMED_CLOSING: AlreadyRolledBackError,
    Rule.NOT_PUBLISHED: UnreachableError,
    Rule.NOT_FUNDED: InsufficientBalanceError,
}


class ChannelTakes:
    """Takes claims into a `ClaimBook`.

    `channel_of` gives a channel of this peer as the ledger has it, None for any other; what was signed in it is the
    book's. `allowance_of` says what else decides, by default nothing unconfirmed. `payee` is what a peer may know.
    """

    def __init__(
        self,
        book: ClaimBook,
        network: Network,
        channel_of: Callable[[str], Awaitable[Channel | None]],
        *,
        allowance_of: Callable[[Channel], Awaitable[Allowance]] | None = None,
        payee: PayeeInfo | None = None,
    ) -> None:
        self._book = book
        self._network = network
        self._channel_of = channel_of
        self._allowance_of = allowance_of
        self._payee = payee

    async def accept(self, claim: Claim) -> Credit:
        """Verify a claim and keep it with what it adds. Raises the errors of the table above."""
        channel = await self._channel_of(claim.aa_address)
        if channel is None:
            raise TransferNotFoundError("this channel is not known here")
        if claim.payer != channel.peer_address:
            raise NotAcceptedError("the claim is not signed by the payer of this channel")
        try:
            terms = verify_payment_package(dict(claim.package), self._network).terms
        except PackageRefused as error:
            raise NotAcceptedError(f"the claim does not hold: {error.code}") from None
        highest = await self._book.taken(claim.aa_address, terms.period)
        if terms.amount_spent > highest:
            await self._check(channel, terms, highest)
        return await self._book.take(terms.aa_address, terms.period, terms.amount_spent, claim.package)

    async def untold(self) -> Sequence[Credit]:
        """Return the credits that the host was not told of."""
        return await self._book.untold()

    async def told(self, credit: Credit) -> None:
        """Note that the host was told."""
        await self._book.told(credit)

    async def last_claim(self, aa_address: str) -> Package | None:
        """Return the highest claim kept of a channel of this peer's."""
        return None if await self._channel_of(aa_address) is None else await self._book.newest_taken(aa_address)

    async def channel(self, aa_address: str) -> ChannelState | None:
        """Return what is known of a channel of this peer's; `capacity` is what may still be signed in it."""
        channel = await self._channel_of(aa_address)
        if channel is None:
            return None
        spent = await self._book.taken(aa_address, channel.current_period)
        return ChannelState(
            status=channel.status.value,
            period=channel.current_period,
            deposited=channel.deposited_by_peer,
            spent=spent,
            capacity=max(0, channel.deposited_by_peer + channel.spent_by_me - spent),
            timeout_s=channel.timeout_s,
        )

    async def info(self) -> PayeeInfo | None:
        """Return what a peer may know."""
        return self._payee

    async def _check(self, channel: Channel, terms: PackageTerms, highest: int) -> None:
        if terms.period > channel.current_period:
            raise UnreachableError("this period has not begun as far as is known here")
        if terms.period < channel.current_period:
            raise AlreadyRolledBackError("this period is over")
        allowance = Allowance() if self._allowance_of is None else await self._allowance_of(channel)
        # The whole increase is the payment: no credit of the peer's is left over, and none is needed.
        payment = PackageTerms(
            terms.aa_address, terms.period, terms.amount_spent - highest, terms.amount_spent, terms.signer
        )
        verdict = accept(replace(channel, spent_by_peer=highest, credit=0), payment, "", allowance)
        if isinstance(verdict, Refused):
            raise _ERRORS.get(verdict.rule, NotAcceptedError)(verdict.reason)
