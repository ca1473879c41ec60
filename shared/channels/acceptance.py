"""May this package be credited? The one rule every door's payments pass through.

Source of the rule: the reference peer's `verifyPaymentPackage`, corrected where it loses money: credit comes
from signatures only (never from unconfirmed deposits), the best claim is never replaced by a smaller one,
and an unconfirmed limit counts what *other* channels use, once. Beyond it: what the peer could rob us of is limited.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from shared.channels.doubt import UNCONFIRMED_S
from shared.channels.exposure import exceeds, is_blocked, refusal_text
from shared.channels.model import Allowance, Channel, PackageTerms, PeerUnit, Status


class Rule(StrEnum):
    """The rule that a refused package broke: a stable code."""

    WRONG_CHANNEL = "wrong_channel"
    WRONG_SIGNER = "wrong_signer"
    PEER_BLOCKED = "peer_blocked"
    CLOSING = "channel_closing"
    UNSURE = "channel_unsure"
    WRONG_PERIOD = "wrong_period"
    PERIOD_CLOSED_BY_ME = "period_closed_by_me"
    UNCONFIRMED_CLOSING = "unconfirmed_closing"
    BAD_SEQUENCE = "bad_sequence"
    NOT_PUBLISHED = "definition_not_published"
    NOT_FUNDED = "not_funded"
    OVER_CREDIT = "over_credit"
    EXPOSURE_LIMIT = "exposure_limit"


class Accepted(msgspec.Struct, frozen=True):
    """The package counts: `channel` is the state after it."""

    channel: Channel
    is_new_claim: bool
    """The package is the best the peer has signed so far and must be kept as the claim."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The package does not count, and nothing changes.

    `channel` is the state it was judged against: period, recorded amount_spent and credit are what an honest
    payer needs to get back in step.
    """

    rule: Rule
    reason: str
    channel: Channel


def accept(channel: Channel, terms: PackageTerms, text: str, allowance: Allowance) -> Accepted | Refused:
    """Judge one verified package against the channel's state, which must be locked by the caller.

    `text` is the package itself, kept as the claim if it is the best. A package that was accepted before
    must be recognised by `terms.key` *before* this is called.

    A package with a lower `amount_spent` than the recorded one is accepted when credit covers its payment:
    packages of one payer overtake each other between fronts. The claim stays the greatest.
    """
    refusal = _refusal_of_state(channel, terms, allowance)
    if refusal is not None:
        return refusal

    covered = channel.deposited_by_peer + channel.spent_by_me + usable_unconfirmed(allowance)
    if terms.amount_spent > covered:
        return Refused(Rule.NOT_FUNDED, "AA not funded enough.", channel)

    increase = max(0, terms.amount_spent - channel.spent_by_peer)
    credit = channel.credit + increase
    if terms.payment_amount > credit:
        return Refused(Rule.OVER_CREDIT, "Payment amount is over your available credit.", channel)

    after = channel.after_payment(
        spent_by_peer=channel.spent_by_peer + increase,
        credit=credit - terms.payment_amount,
        claim=text if increase else channel.claim,
    )
    limits, is_stopped = allowance.exposure, allowance.is_stopped
    if limits is not None and exceeds(after, limits, is_stopped=is_stopped):
        reason = refusal_text(channel, terms.payment_amount, limits, is_stopped=is_stopped)
        return Refused(Rule.EXPOSURE_LIMIT, reason, channel)
    return Accepted(channel=after, is_new_claim=increase > 0)


def needs_allowance(channel: Channel, terms: PackageTerms) -> bool:
    """Whether judging the package needs the asset-wide use of unconfirmed deposits (and the asset's lock)."""
    return terms.amount_spent > channel.deposited_by_peer + channel.spent_by_me


def usable_unconfirmed(allowance: Allowance) -> int:
    """How much unconfirmed deposits may stand behind a channel's packages now, 0 without limits for the asset."""
    limits = allowance.limits
    if limits is None:
        return 0
    aged = sum(unit.amount for unit in allowance.units if _is_aged(unit, allowance))
    left_of_asset = max(0, limits.max_by_asset - allowance.used_elsewhere)
    return min(left_of_asset, limits.max_by_channel, aged)


def next_change_s(allowance: Allowance) -> float | None:
    """When the next unconfirmed deposit grows old enough to count, by the clock of `now_s`; None if none will."""
    limits = allowance.limits
    if limits is None:
        return None
    young = [unit.first_seen_s + limits.min_age_s for unit in allowance.units if not _is_aged(unit, allowance)]
    return min(young, default=None)


def _refusal_of_state(channel: Channel, terms: PackageTerms, allowance: Allowance) -> Refused | None:
    """Refuse what the channel's state forbids, whatever the amounts."""
    if terms.aa_address != channel.aa_address:
        return Refused(Rule.WRONG_CHANNEL, "the package is for another channel", channel)
    if terms.signer != channel.peer_address:
        reason = f"package signed by wrong address expected : {channel.peer_address}"
        return Refused(Rule.WRONG_SIGNER, reason, channel)
    if is_blocked(channel):
        reason = f"nothing is taken from this address in channels of version {channel.version}: one was robbed"
        return Refused(Rule.PEER_BLOCKED, reason, channel)
    if channel.is_closing:
        return Refused(Rule.CLOSING, "closing initiated", channel)
    return _refusal_of_period(channel, terms) or _refusal_of_peer_units(channel, allowance)


def _refusal_of_period(channel: Channel, terms: PackageTerms) -> Refused | None:
    """Refuse packages of another period, and all of one in which nothing more can be accepted."""
    if terms.period != channel.current_period:
        return Refused(Rule.WRONG_PERIOD, "wrong period", channel)
    if channel.is_unsure:
        # Packages that were credited before the restore would be credited again.
        # A period that begins before the doubt ends is in doubt, too; whoever waits from now on begins after that.
        reason = (
            "the receiver has lost its latest records of this period: close the channel, "
            f"and deposit again in {UNCONFIRMED_S // 60} minutes or later"
        )
        return Refused(Rule.UNSURE, reason, channel)
    if terms.period == channel.period_closed_by_me:
        return Refused(Rule.PERIOD_CLOSED_BY_ME, "period closed by me", channel)
    return None


def _refusal_of_peer_units(channel: Channel, allowance: Allowance) -> Refused | None:
    """Refuse what the peer's own units on the ledger make unsafe: every one of them is looked at."""
    if any(unit.closes for unit in allowance.units):
        return Refused(Rule.UNCONFIRMED_CLOSING, "channel in unconfirmed closing state", channel)
    is_published = (
        channel.definition_confirmed
        or channel.status is Status.OPEN
        or allowance.created_by_me
        or any(unit.publishes_definition and _is_aged(unit, allowance) for unit in allowance.units)
    )
    if not is_published:
        return Refused(Rule.NOT_PUBLISHED, "AA definition was not published", channel)
    if any(unit.is_bad for unit in allowance.units):
        return Refused(Rule.BAD_SEQUENCE, "bad sequence unit from peer", channel)
    return None


def _is_aged(unit: PeerUnit, allowance: Allowance) -> bool:
    return allowance.limits is not None and unit.first_seen_s + allowance.limits.min_age_s <= allowance.now_s
