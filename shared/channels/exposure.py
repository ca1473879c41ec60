"""What the peer of a channel can rob us of, and what is done to keep that small.

The channels agent 1.1 lets the party that closes first claim little and at once prove himself a fraud with a package
that he has signed himself: he gets the whole channel, and there is no time to react (Obyte, channels agent 1.1). What
we lose then is what an honest closing would have paid us. Nothing can be taken from a channel that *we* have closed:
there only packages signed by us prove anything, and we admit all of them.

    at risk in a channel             what happens
    more than `sweep_above` earned   it is closed by us, with the best claim; its peer pays again in the next period
    up to `max_by_channel`           packages that would exceed it are refused: this limit is exact

    at risk in an asset, in all      what happens, at each measurement
    4/5 of `max_total`               channels are closed, the greatest first, until 3/5 would be left
    `max_total`                      no more packages in channels that can be robbed, until less than 4/5 is left

What was stolen nevertheless lowers `max_total` until a person has seen and forgiven it, and the peer who did it is
blocked: nothing more is put at risk in any channel of his that can be robbed. So the limits hold over many periods.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.channels.errors import ExposureError
from shared.channels.ledger import Closed
from shared.channels.model import MAX_AMOUNT, Channel, ExposureLimits, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.channels.ledger import LedgerEvent

REPAIRED_VERSIONS = frozenset({"1.2"})
"""Versions of the agent that only let the injured party prove a fraud. Any other one can be robbed."""

BASE = "base"
ANY_ASSET = "*"
NEVER = MAX_AMOUNT + 1
"""As `sweep_above`: channels are not closed for what is at risk in them, their packages are only refused.

So it is for assets that nobody listed. Anybody can make an asset that is worth nothing, and a closing costs bytes, of
which the peer gets more than half: who pays us enough of it could have us close his channels until no bytes are left.
"""
NOTHING = ExposureLimits(max_by_channel=0, sweep_above=0, max_own_deposit=0, max_total=0)
"""The limits of an asset about which nothing was decided: nothing is put at risk in it."""


def version_is_robbable(version: str) -> bool:
    """Whether a party of a channel of this version can take what belongs to the other."""
    return version not in REPAIRED_VERSIONS


@dataclass(frozen=True, slots=True)
class ExposureRules:
    """The limits by asset; those of `*` hold for every asset that is not listed."""

    by_asset: Mapping[str, ExposureLimits]

    def of(self, asset: str) -> ExposureLimits:
        """Return the limits of an asset."""
        if asset in self.by_asset:
            return self.by_asset[asset]
        limits = self.by_asset.get(ANY_ASSET, NOTHING)
        return limits if asset == BASE or limits == NOTHING else replace(limits, sweep_above=NEVER)


# -------------------------------------------------------------------------------------------------------- one channel


def at_risk(channel: Channel) -> int:
    """Return what the peer can take from us: what an honest closing would pay us, if the channel can be robbed.

    Money that was only signed for (unconfirmed deposits) counts: goods were given for it. Credit does not: it is his.
    """
    if channel.status is Status.CLOSING_BY_ME or not version_is_robbable(channel.version):
        return 0
    return max(0, channel.deposited_by_me - channel.spent_by_me + channel.spent_by_peer - channel.credit)


def earned(channel: Channel) -> int:
    """Return how much of what is at risk came from the peer, as if we had spent our own deposit first."""
    return max(0, at_risk(channel) - max(0, channel.deposited_by_me - channel.spent_by_me))


def stolen(before: Channel, event: LedgerEvent) -> int | None:
    """Return what the event has robbed us of in a channel that was in the state `before`; None if it is no robbery.

    The peer has closed, and then a fraud was proven by somebody else than us: everything went to him, the peer himself
    or a stranger who had copied our proof. 0 where nothing was at risk as far as we know.
    """
    if not isinstance(event, Closed) or before.status is not Status.CLOSING_BY_PEER:
        return None
    if not event.by_fraud_proof or event.received:
        return None
    return at_risk(before)


def is_blocked(channel: Channel) -> bool:
    """Whether nothing more may be put at risk in the channel, for what its peer has done."""
    return channel.peer_has_robbed and version_is_robbable(channel.version)


def is_closable(channel: Channel) -> bool:
    """Whether the channel's period can be ordered closed, as far as its row tells."""
    return channel.status is Status.OPEN and channel.period_closed_by_me != channel.period


def is_ripe(channel: Channel, limits: ExposureLimits) -> bool:
    """Whether enough was earned in the channel to close it."""
    return is_closable(channel) and earned(channel) >= max(1, limits.sweep_above)


def exceeds(after: Channel, limits: ExposureLimits, *, is_stopped: bool) -> bool:
    """Whether more would be at risk in the channel than may be, were `after` its state."""
    return at_risk(after) > (0 if is_stopped else limits.max_by_channel)


def refusal_text(before: Channel, payment_amount: int, limits: ExposureLimits, *, is_stopped: bool) -> str:
    """Say to the payer of a package that would exceed the limit what he can do."""
    if is_stopped:
        return "too much is unsettled in this asset now, pay again later"
    if payment_amount > limits.max_by_channel:
        return f"Payment amount is over {limits.max_by_channel}, the limit of channels of version {before.version}"
    if earned(before) >= limits.sweep_above:
        return "the channel is being settled, pay again in the next period"
    room = max(0, limits.max_by_channel - at_risk(before))
    return f"too much would be unsettled: pay at most {room}, or close the channel and pay again in the next period"


def may_deposit(
    channel: Channel,
    amount: int,
    limits: ExposureLimits,
    *,
    pending_deposits: int = 0,
    total_at_risk: int = 0,
    robbed: int = 0,
    is_stopped: bool = False,
) -> None:
    """Return if we may deposit `amount` into the channel. Raises ExposureError.

    `pending_deposits`: deposits of ours on their way to the agent. `total_at_risk`, `is_stopped`: of the asset, as last
    measured; that may know of them already, which errs on the safe side. `robbed`: what was stolen of the asset and not
    forgiven. What we have signed to the peer is his and not at risk.
    """
    if not version_is_robbable(channel.version):
        return
    if channel.peer_has_robbed:
        raise ExposureError(f"{channel.peer_address} has robbed us: nothing more is deposited for him to take")
    after = replace(channel, deposited_by_me=channel.deposited_by_me + pending_deposits + amount)
    ours = after.deposited_by_me - after.spent_by_me
    if ours > limits.max_own_deposit:
        raise ExposureError(
            f"{ours} of our own would be at risk in the channel, the limit is max_own_deposit {limits.max_own_deposit}"
        )
    if at_risk(after) > limits.max_by_channel:
        raise ExposureError(
            f"{at_risk(after)} would be at risk in the channel, the limit is max_by_channel {limits.max_by_channel}"
        )
    total = total_at_risk + pending_deposits + amount
    if is_stopped or total + robbed > limits.max_total:
        raise ExposureError(
            f"{total} would be at risk in all channels of the asset and {robbed} was robbed, "
            f"the limit is max_total {limits.max_total}"
        )


# ------------------------------------------------------------------------------------------- all channels of an asset


@dataclass(frozen=True, slots=True)
class ChannelAtRisk:
    """A channel that we could close now, and what is at risk in it."""

    aa_address: str
    at_risk: int


@dataclass(frozen=True, slots=True)
class AssetAtRisk:
    """What was found at risk in the channels of one asset that can be robbed."""

    total: int = 0
    settling: int = 0
    """Part of `total` in channels that are being closed already, by us or by their peers."""
    greatest: int = 0
    """In one channel."""
    ripe: tuple[ChannelAtRisk, ...] = ()
    """Channels in which enough was earned to close them, the greatest first; there may be more of them."""
    closable: tuple[ChannelAtRisk, ...] = ()
    """Channels that could be closed, the greatest first; there may be more of them."""
    robbed: int = 0
    """What was stolen of the asset and no person has forgiven. No part of `total`, but of what `max_total` limits."""

    def joined(self, other: AssetAtRisk) -> AssetAtRisk:
        """Return what was found in both, different parts of the asset's channels."""
        return AssetAtRisk(
            total=self.total + other.total,
            settling=self.settling + other.settling,
            greatest=max(self.greatest, other.greatest),
            ripe=_greatest(self.ripe + other.ripe),
            closable=_greatest(self.closable + other.closable),
            robbed=self.robbed + other.robbed,
        )


MAX_CHANNELS_LISTED = 100


def _greatest(channels: tuple[ChannelAtRisk, ...]) -> tuple[ChannelAtRisk, ...]:
    ordered = sorted(channels, key=lambda channel: (-channel.at_risk, channel.aa_address))
    return tuple(ordered[:MAX_CHANNELS_LISTED])


def max_at_risk(found: AssetAtRisk, limits: ExposureLimits) -> int:
    """Return how much may be at risk in an asset: `max_total`, less what was stolen already."""
    return max(0, limits.max_total - found.robbed)


def is_near(found: AssetAtRisk, limits: ExposureLimits, *, was_near: bool) -> bool:
    """Whether so much is at risk that channels are closed for that alone."""
    return found.total > 0 and found.total * 5 >= max_at_risk(found, limits) * (3 if was_near else 4)


def must_stop(found: AssetAtRisk, limits: ExposureLimits, *, growth: int, was_stopped: bool) -> bool:
    """Whether no more may be put at risk in the asset.

    `growth`: by how much the total will be greater at the next measurement if it goes on growing as it did since the
    last one. Looking ahead keeps the total below the limit for as long as payments do not come faster.
    """
    maximum = max_at_risk(found, limits)
    if found.total == 0:
        return found.robbed > 0 and maximum == 0
    if was_stopped and found.total * 5 >= maximum * 4:
        return True
    return found.total + max(0, growth) >= maximum


def channels_to_sweep(found: AssetAtRisk, limits: ExposureLimits, *, is_near_limit: bool) -> list[str]:
    """Return the channels to close now: the ripe ones, and while the total is near its limit the greatest."""
    wanted = {channel.aa_address: channel.at_risk for channel in found.ripe}
    left = found.total - found.settling - sum(wanted.values())
    for channel in found.closable if is_near_limit and limits.sweep_above != NEVER else ():
        if left * 5 <= max_at_risk(found, limits) * 3:
            break
        if channel.aa_address not in wanted:
            wanted[channel.aa_address] = channel.at_risk
            left -= channel.at_risk
    return list(wanted)
