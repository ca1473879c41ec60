"""What others order of the wallet: a unit, what it is for, and how much that is worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from shared.obyte.coins import Outpoint, Policy
    from shared.obyte.composing import Output
    from shared.obyte.serialization import JsonValue
    from shared.store.database import Connection


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a unit is for: at most one unit is on its way for each purpose."""

    meaning: str
    aa_address: str | None = None
    """The channel's agent; None when the unit is for no channel."""
    period: int | None = None
    reference: str = ""
    """Tells apart what may be wanted several times in a period, as the command that asked for it."""


class Urgency(StrEnum):
    """How much a unit may cost, and what may wait for it."""

    ROUTINE = "routine"
    """Deposits, withdrawals: can wait, and leave the reserve alone."""
    SETTLING = "settling"
    """Closings and their confirmation: what the reserve is for."""
    DEFENCE = "defence"
    """Money is lost if it comes late: a fraud proof, a confirmation whose deadline is near."""

    @property
    def rank(self) -> int:
        """The greater goes first."""
        return ("routine", "settling", "defence").index(self.value)


@dataclass(frozen=True, slots=True)
class UnitOrder:
    """A unit to be made. `is_wanted` is asked once more in the transaction that journals it."""

    purpose: Purpose
    payments: tuple[Output, ...]
    messages: tuple[Mapping[str, JsonValue], ...] = field(repr=False)
    is_wanted: Callable[[Connection], Awaitable[bool]] = field(repr=False)
    max_aa_responses: int | None = 1
    policy: Policy = "own"
    """Which unconfirmed coins it may spend. Those of others are only spent when ours are not enough."""
    urgency: Urgency = Urgency.ROUTINE
    at_stake: int | None = None
    """Bytes that are lost if the unit does not arrive in time; None when that cannot be told in bytes."""
    on_journaled: Callable[[Connection, str], Awaitable[None]] | None = field(default=None, repr=False)
    """Called with the unit's hash in the transaction that journals it, to record what it stands for."""
    sends_all: bool = False
    """The amount of the one payment is whatever can be sent; see `compose`."""
    only: frozenset[Outpoint] | None = None
    """The only coins of the asset in question that may be spent."""
    refuses_agents: bool = False
    """Agents among the payees stop the order: who pays an agent by mistake may never see the money again."""
    peer: str | None = None
    """An address that stops the order if it is an agent's: as a party of a channel an agent can refuse its payout."""
