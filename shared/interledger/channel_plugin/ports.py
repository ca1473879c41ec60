"""What a ChannelPlugin needs to know of channels: who signs our claims, and who takes the peer's.

    Pays    signs a claim and stores it before anybody sees it; remembers the newest one
    Takes   verifies a claim, stores it together with what it adds, and says how much that is; remembers of what the
            host has not been told yet

Packages are bearer secrets: they go to the peer and nowhere else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from shared.strict_json import JsonValue

if TYPE_CHECKING:
    from shared.interledger.claims import ChannelState, Claim, PayeeInfo

Package: TypeAlias = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Credit:
    """What one claim has added, stored: 0 if it added nothing. `id` is the same however often one is told of it."""

    id: str
    amount: int
    aa_address: str
    period: int
    amount_spent: int


class Pays(Protocol):
    """Our side of the channel from which we pay."""

    @property
    def aa_address(self) -> str:
        """Which channel that is."""

    async def sign(self, amount: int) -> Package:
        """Sign a claim of `amount` more and store it, durably, before returning it (LPI-24, CLM-10).

        Raises MoneyNotSentError, and then nothing was signed.
        """

    async def newest(self) -> Package | None:
        """Return the claim of the newest period with the highest amount, None if nothing was signed yet."""

    async def acknowledged(self, claim: Claim) -> None:
        """Note that the peer has taken that claim."""

    async def recover(self, claim: Claim) -> None:
        """Continue from a claim of ours that the peer has shown, and that is above all that we know of.

        Raises NotAcceptedError if it is not we who signed it.
        """


class Takes(Protocol):
    """Our side of the channels over which the peer pays."""

    async def accept(self, claim: Claim) -> Credit:
        """Verify a claim and commit claim and credit in one step (CLM-1).

        A claim that is stored already, or below one that is, gives a credit of 0 (CLM-3). Raises what the peer is told:
        NotAcceptedError, TransferNotFoundError, AlreadyRolledBackError, InsufficientBalanceError, UnreachableError.
        """

    async def untold(self) -> Sequence[Credit]:
        """Return the credits of which the host has not been told, oldest first (CLM-6)."""

    async def told(self, credit: Credit) -> None:
        """Note that the host was told."""

    async def last_claim(self, aa_address: str) -> Package | None:
        """Return the highest claim stored for that channel of this peer's, None for any other channel (CLM-5)."""

    async def channel(self, aa_address: str) -> ChannelState | None:
        """Return what is known of that channel of this peer's, None for any other channel (CLM-5)."""

    async def info(self) -> PayeeInfo | None:
        """Return what is taken here, None to keep it to ourselves."""


class AcceptedBy:
    """Takes claims by one function, for hosts that keep their own books: it verifies, commits and gives the increment.

    The host knows of the money by then; what could not be told to a money handler is remembered in memory only.
    """

    def __init__(self, accept: Callable[[Package], Awaitable[int]]) -> None:
        self._accept = accept
        self._untold: dict[str, Credit] = {}

    async def accept(self, claim: Claim) -> Credit:
        """Give the package to the function. Raises what it raises."""
        amount = await self._accept(claim.package)
        credit_id = f"{claim.aa_address}-{claim.period}-{claim.amount_spent}"
        credit = Credit(credit_id, amount, claim.aa_address, claim.period, claim.amount_spent)
        if amount:
            self._untold[credit.id] = credit
        return credit

    async def untold(self) -> Sequence[Credit]:
        """Return what no money handler has taken yet."""
        return tuple(self._untold.values())

    async def told(self, credit: Credit) -> None:
        """Forget a credit."""
        self._untold.pop(credit.id, None)

    async def last_claim(self, aa_address: str) -> Package | None:  # noqa: ARG002 - a Takes
        """Return nothing: the function keeps what it knows."""
        return None

    async def channel(self, aa_address: str) -> ChannelState | None:  # noqa: ARG002 - a Takes
        """Return nothing: the function keeps what it knows."""
        return None

    async def info(self) -> PayeeInfo | None:
        """Return nothing."""
        return None
