"""What a channel is: its state as both sides and the ledger agree on it, and the words the rules use."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context
from enum import StrEnum
from typing import TypeGuard

import msgspec

MAX_AMOUNT = 9_000_000_000_000_000
"""The ledger's limit on any amount and on any sum of amounts, in an asset's smallest unit."""

MIN_BASE_DEPOSIT = 10_001
"""Bytes. The agent takes a payment of up to 10 000 bytes for a message without a deposit."""

_AGENTS_ARITHMETIC = Context(prec=15, rounding=ROUND_HALF_EVEN)


class Status(StrEnum):
    """Where the channel stands by the last ledger event applied."""

    CLOSED = "closed"
    """Never opened, or between two periods."""
    OPEN = "open"
    CLOSING_BY_ME = "closing_initiated_by_me"
    CLOSING_BY_PEER = "closing_initiated_by_peer"


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel, seen from our side. All amounts are in the asset's smallest unit.

    The amounts belong to the *current period* (see `current_period`). For every period the following holds
    at all times: the payments accepted from the peer plus `credit` equal `spent_by_peer`, and
    `spent_by_peer` is the `amount_spent` of `claim`, the best package that the peer has signed.
    """

    aa_address: str
    own_address: str
    peer_address: str
    asset: str
    timeout_s: int
    version: str = "1.1"
    """Of the channels agent: `shared.channels.exposure` says which ones a party can rob."""
    status: Status = Status.CLOSED
    period: int = 0
    """The last period that the ledger has told of; 0 before the channel was ever opened."""
    deposited_by_peer: int = 0
    """Confirmed by the agent. A deposit on its way is a `PeerUnit`, never part of this."""
    deposited_by_me: int = 0
    spent_by_peer: int = 0
    """The highest `amount_spent` the peer has signed in the current period."""
    spent_by_me: int = 0
    """The highest `amount_spent` we have signed in the current period."""
    credit: int = 0
    """What the peer has signed for beyond the payments made so far. It goes back to him at closing."""
    claim: str | None = field(default=None, repr=False)
    """The package that proves `spent_by_peer`. With agent 1.1 whoever holds it may be able to cash it: a secret."""
    period_closed_by_me: int = 0
    """The period that we have ordered to be closed, 0 if none: from that moment nothing more is accepted in it."""
    close_started_at_s: int | None = None
    """Ledger time of the closing, while the status is one of the two closing ones."""
    claimed_by_peer: int | None = None
    """What the peer's closing says he has spent, while `CLOSING_BY_PEER`."""
    last_event_id: int = 0
    definition_confirmed: bool = False
    """The agent's definition is stable on the ledger: it has responded at least once."""
    unsure_period: int = 0
    """After a restore of the database: the period in which both sides may have signed more than is known here, 0 if
    none. Nothing is accepted, signed or closed by us in it; a closing of the peer is answered."""
    peer_has_robbed: bool = False
    """The peer has robbed us in this or another channel, and no person has forgiven it (`shared.channels.exposure`)."""

    @property
    def current_period(self) -> int:
        """The period that packages signed now belong to."""
        return self.period + 1 if self.status is Status.CLOSED else self.period

    @property
    def is_unsure(self) -> bool:
        """Whether our own numbers of the current period may be older than what was signed in it."""
        return self.unsure_period == self.current_period

    @property
    def is_closing(self) -> bool:
        """True between the agent's `closing` and `closed` events."""
        return self.status in (Status.CLOSING_BY_ME, Status.CLOSING_BY_PEER)

    @property
    def unconfirmed_used(self) -> int:
        """How much of what the peer has signed is covered by nothing the ledger has confirmed yet."""
        return max(0, self.spent_by_peer - self.deposited_by_peer - self.spent_by_me)

    def after_payment(self, *, spent_by_peer: int, credit: int, claim: str | None) -> Channel:
        """Return the channel with what a payment changes. Like `dataclasses.replace`, in less than half its time."""
        return Channel(
            self.aa_address,
            self.own_address,
            self.peer_address,
            self.asset,
            self.timeout_s,
            self.version,
            self.status,
            self.period,
            self.deposited_by_peer,
            self.deposited_by_me,
            spent_by_peer,
            self.spent_by_me,
            credit,
            claim,
            self.period_closed_by_me,
            self.close_started_at_s,
            self.claimed_by_peer,
            self.last_event_id,
            self.definition_confirmed,
            self.unsure_period,
            self.peer_has_robbed,
        )


@dataclass(frozen=True, slots=True)
class PeerUnit:
    """A unit of the peer to the agent that is on the ledger but not yet stable.

    Only units whose author signature was verified may be made into one of these.
    """

    unit: str
    first_seen_s: float
    """By our own clock, not by the unit's timestamp, which its author chooses."""
    amount: int = 0
    """What it deposits, in the channel's own asset; 0 when it is no deposit."""
    closes: bool = False
    publishes_definition: bool = False
    is_bad: bool = False
    """It lost to a conflicting unit, or conflicts with one: the peer tried to spend twice."""


@dataclass(frozen=True, slots=True)
class UnconfirmedLimits:
    """How much we trust deposits that are on their way, for one asset."""

    max_by_asset: int
    max_by_channel: int
    min_age_s: float
    """A deposit counts only when we have known it for this long."""


@dataclass(frozen=True, slots=True)
class ExposureLimits:
    """How much the peers of channels that can be robbed may take from us, for one asset, in its smallest unit."""

    max_by_channel: int
    """Packages that would put more at risk in a channel are refused."""
    sweep_above: int
    """A channel in which we have earned this much is closed, and so safe."""
    max_own_deposit: int
    """Deposits of ours that would put more of our own money into a channel are refused."""
    max_total: int
    """With this much at risk in all channels together no more packages are taken."""


class Allowance(msgspec.Struct, frozen=True):
    """What decides about packages besides the channel's row, at one moment."""

    units: tuple[PeerUnit, ...] = ()
    limits: UnconfirmedLimits | None = None
    """None: unconfirmed deposits in this asset count for nothing."""
    used_elsewhere: int = 0
    """Sum of `unconfirmed_used` over all *other* channels of the asset. Exact only while the asset is locked."""
    now_s: float = 0.0
    created_by_me: bool = False
    """We published the agent's definition ourselves, so it need not be waited for."""
    exposure: ExposureLimits | None = None
    """None: nobody has to fear for what is in the channel."""
    is_stopped: bool = False
    """Too much is at risk in all channels of the asset together: nothing is added to it."""


class PackageTerms(msgspec.Struct, frozen=True, gc=False):
    """What a verified package says. Shape, address, signer's key and signature were checked before."""

    aa_address: str
    period: int
    payment_amount: int
    amount_spent: int
    signer: str

    @property
    def key(self) -> tuple[str, int, int, int]:
        """What makes two packages the same payment: channel, period, amount_spent, payment_amount.

        The signature and the optional fields are not part of it: one payment signed twice is one payment.
        """
        return (self.aa_address, self.period, self.amount_spent, self.payment_amount)


def is_amount(value: object) -> TypeGuard[int]:
    """Whether the value can be an amount: an int (bool is none) from 1 to `MAX_AMOUNT`."""
    return type(value) is int and 1 <= value <= MAX_AMOUNT


def as_agents_count(amount: int) -> int:
    """Return an amount as agents see it: formulas calculate with 15 digits (Obyte, ocore `formula/common.js`)."""
    return int(_AGENTS_ARITHMETIC.create_decimal(amount))
