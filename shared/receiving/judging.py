"""One batch of verified packages against the channels they are for: one after the other, on the state as it evolves.

Pure. The caller has locked the channels (and, where `assets_to_lock` says so, the assets), reads what is asked for, and
writes what comes out. Every package gets its own outcome; none can fail another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from shared.channels.acceptance import Refused, Rule, accept, needs_allowance, next_change_s
from shared.channels.exposure import is_ripe
from shared.channels.model import Allowance, Channel, PackageTerms, PeerUnit, Status, UnconfirmedLimits
from shared.receiving.outcomes import ChannelView, Refusal
from shared.store.payments import NewPayment, PaymentKey

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from shared.channels.exposure import ExposureRules
    from shared.receiving.verification import SignedPayment

_AWAITS_FUNDING = frozenset({Rule.NOT_PUBLISHED, Rule.NOT_FUNDED})
_SHOWS_NOTHING = frozenset({Rule.WRONG_SIGNER, Rule.UNSURE})
"""A stranger learns nothing of the channel, and nobody gets back in step by books that are too old."""


class ChannelAtHand(msgspec.Struct, frozen=True):
    """A channel as it was read under its lock. `channel.claim` is None: no front may read it."""

    channel: Channel
    created_by_me: bool
    units: tuple[PeerUnit, ...] = ()
    asset_is_stopped: bool = False
    is_expired: bool = False
    """It was given up, for want of a deposit: nobody watches it."""


@dataclass(frozen=True, slots=True)
class WatcherSilent:
    """The package is not judged: we cannot see whether its channel is being closed."""


class Credited(msgspec.Struct, frozen=True, gc=False):
    """The package counts, now or since earlier: its receipt is found by the key, once the batch is written."""

    key: PaymentKey
    duplicate: bool


Outcome = Credited | Refusal | WatcherSilent


def may_be_duplicate(channel: Channel, terms: PackageTerms) -> bool:
    """Whether the package can have been accepted before: every accepted one counts in the recorded amount_spent."""
    if terms.signer != channel.peer_address:
        return False
    if terms.period == channel.current_period:
        return terms.amount_spent <= channel.spent_by_peer
    return terms.period < channel.current_period


def assets_to_lock(
    channels: Mapping[str, ChannelAtHand], payments: Iterable[SignedPayment], limits: Mapping[str, UnconfirmedLimits]
) -> list[str]:
    """Return, in locking order, the assets whose unconfirmed allowance some package needs."""
    assets = set()
    for payment in payments:
        locked = channels.get(payment.terms.aa_address)
        if locked is not None and needs_allowance(locked.channel, payment.terms):
            assets.add(locked.channel.asset)
    return sorted(assets & limits.keys())


class Judge:
    """Judges packages one after the other.

    After them, `channels` has the states by address; a state's `claim` is the best package of the batch if that is
    better than the one on record, else None. `payments` are the new ones, in order. `wanted` are channels that were
    given up and whose payers wait for their deposits to be seen.
    """

    def __init__(
        self,
        channels: Mapping[str, ChannelAtHand],
        *,
        accepted_before: Collection[PaymentKey],
        limits: Mapping[str, UnconfirmedLimits],
        exposure: ExposureRules,
        used_of_asset: Mapping[str, int],
        now_s: float,
        watcher_silent: bool,
    ) -> None:
        """Take what was read under the locks.

        `accepted_before`: the keys among these packages that were credited earlier. `limits`, `exposure`: by asset.
        `used_of_asset`: the sum of `unconfirmed_used` over all channels of each asset that was locked.
        `now_s`: the database's clock, in seconds.
        """
        self.channels = {address: locked.channel for address, locked in channels.items()}
        self.payments: dict[PaymentKey, NewPayment] = {}
        self.wanted: set[str] = set()
        self._locked = channels
        self._accepted_before = accepted_before
        self._limits = limits
        self._exposure = exposure
        self._used_of_asset = dict(used_of_asset)
        self._now_s = now_s
        self._watcher_silent = watcher_silent

    def judge(self, payment: SignedPayment, message: str | None) -> Outcome:
        """Judge the next package."""
        terms = payment.terms
        channel = self.channels.get(terms.aa_address)
        if channel is None:
            return Refusal("unknown_channel", "unknown channel")
        is_known = terms.key in self._accepted_before or terms.key in self.payments
        if is_known and terms.signer == channel.peer_address:
            return Credited(terms.key, duplicate=True)
        if self._watcher_silent:
            return WatcherSilent()
        allowance = self._allowance(channel)
        verdict = accept(channel, terms, payment.text, allowance)
        if isinstance(verdict, Refused):
            refusal = _refusal(verdict, allowance)
            if refusal.awaits_funding and self._locked[terms.aa_address].is_expired:
                self.wanted.add(terms.aa_address)
            return refusal
        self._move_to(verdict.channel)
        self.payments[terms.key] = NewPayment(*terms.key, message)
        return Credited(terms.key, duplicate=False)

    def ripened(self) -> list[tuple[str, int]]:
        """Return the channels, with their periods, in which these packages have earned enough to close them."""
        return [
            (address, after.period)
            for address in dict.fromkeys(payment.aa_address for payment in self.payments.values())
            if is_ripe(after := self.channels[address], limits := self._exposure.of(after.asset))
            and not is_ripe(self._locked[address].channel, limits)
        ]

    def _allowance(self, channel: Channel) -> Allowance:
        locked = self._locked[channel.aa_address]
        used = self._used_of_asset.get(channel.asset, 0)
        return Allowance(
            units=locked.units,
            limits=self._limits.get(channel.asset),
            used_elsewhere=max(0, used - channel.unconfirmed_used),
            now_s=self._now_s,
            created_by_me=locked.created_by_me,
            exposure=self._exposure.of(channel.asset),
            is_stopped=locked.asset_is_stopped,
        )

    def _move_to(self, after: Channel) -> None:
        before = self.channels[after.aa_address]
        self.channels[after.aa_address] = after
        if after.asset in self._used_of_asset:
            self._used_of_asset[after.asset] += after.unconfirmed_used - before.unconfirmed_used


def _refusal(verdict: Refused, allowance: Allowance) -> Refusal:
    changes_at_s = next_change_s(allowance)
    return Refusal(
        code=verdict.rule.value,
        text=verdict.reason,
        channel=None if verdict.rule in _SHOWS_NOTHING else ChannelView.of(verdict.channel),
        awaits_funding=verdict.rule in _AWAITS_FUNDING and verdict.channel.status is Status.CLOSED,
        changes_in_s=None if changes_at_s is None else max(0.0, changes_at_s - allowance.now_s),
    )
