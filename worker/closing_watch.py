"""Alarms about closings: a deadline that comes near, a closing that does not end, a fraud, a unit that keeps failing.

Nothing is remembered but when a closing was first seen: each look says what is so now, and takes down what is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.channels.closing import is_dishonest
from shared.channels.model import Channel, Status
from shared.channels.settling import deadline_s, share_elapsed, trigger_due
from shared.store.alarms import AlarmKind
from worker.metrics import CLOSING_DEADLINE, UNSETTLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from worker.alarms import Alarms

_KINDS = (AlarmKind.DEADLINE_NEAR, AlarmKind.CLOSING_OVERDUE, AlarmKind.FRAUD_SEEN, AlarmKind.TRIGGER_FAILING)


@dataclass(frozen=True, slots=True)
class ClosingLimits:
    """When to worry. Shares are of a channel's timeout, counted from the peer's closing.

    `confirm_from`: bytes that a closing of the peer must move for us to confirm it; 0 confirms all of them.
    """

    warn_share: float = 0.5
    defend_share: float = 0.7
    """From here on the answer may cost more (`Urgency.DEFENCE`)."""
    overdue_s: float = 600.0
    """How long after its timeout a closing of ours may still be without its end."""
    failing_after: int = 5
    """Attempts for one purpose after which there is still something to do."""
    confirm_from: int = 0


class ClosingWatch:
    """Looks at the channels that settlement is about. `monotonic`: seconds that nobody can set."""

    def __init__(self, alarms: Alarms, limits: ClosingLimits, monotonic: Callable[[], float]) -> None:
        self._alarms = alarms
        self.limits = limits
        self._monotonic = monotonic
        self._ordered_since_s: dict[str, float] = {}

    def look(self, channels: Iterable[Channel], *, now_s: float, attempts: Mapping[str, int]) -> None:
        """Raise and clear alarms. `now_s`: the ledger's time; `attempts`: made by channel for what is due now."""
        due: dict[AlarmKind, set[str]] = {kind: set() for kind in _KINDS}
        first_deadline_s = math.inf
        count = 0
        for channel in channels:
            count += 1
            for kind, facts in self._reasons(channel, now_s, attempts.get(channel.aa_address, 0)):
                due[kind].add(channel.aa_address)
                self._alarms.raise_(kind, channel.aa_address, **facts)
            if self._waits_for_us(channel):
                first_deadline_s = min(first_deadline_s, deadline_s(channel) or math.inf)
        for kind, subjects in due.items():
            for aa_address in self._alarms.subjects(kind) - subjects:
                self._alarms.clear(kind, aa_address)
        UNSETTLED.set(count)
        CLOSING_DEADLINE.set(first_deadline_s - now_s)

    def is_near(self, channel: Channel, now_s: float) -> bool:
        """Whether the answer to the peer's closing may cost more, because so little time is left."""
        return share_elapsed(channel, now_s) >= self.limits.defend_share

    def _reasons(
        self, channel: Channel, now_s: float, attempts: int
    ) -> Iterable[tuple[AlarmKind, dict[str, str | float | None]]]:
        if is_dishonest(channel):
            yield AlarmKind.FRAUD_SEEN, {"claimed": channel.claimed_by_peer, "signed": channel.spent_by_peer}
        if self._waits_for_us(channel) and share_elapsed(channel, now_s) >= self.limits.warn_share:
            yield AlarmKind.DEADLINE_NEAR, {"deadline_s": deadline_s(channel), "is_fraud": is_dishonest(channel)}
        if self._is_overdue(channel, now_s):
            yield AlarmKind.CLOSING_OVERDUE, {"period": channel.period, "status": channel.status.value}
        if attempts >= self.limits.failing_after:
            yield AlarmKind.TRIGGER_FAILING, {"period": channel.period, "status": channel.status.value}

    def _waits_for_us(self, channel: Channel) -> bool:
        if channel.status is not Status.CLOSING_BY_PEER:
            return False
        # The channels looked at come without their claims, so the proof itself cannot be made of them.
        due = trigger_due(channel, ledger_time_s=0, confirm_from=self.limits.confirm_from)
        return due is not None or is_dishonest(channel)

    def _is_overdue(self, channel: Channel, now_s: float) -> bool:
        if channel.status is Status.CLOSING_BY_ME and channel.close_started_at_s is not None:
            return now_s > channel.close_started_at_s + channel.timeout_s + self.limits.overdue_s
        if channel.status is not Status.OPEN:
            self._ordered_since_s.pop(channel.aa_address, None)
            return False
        since_s = self._ordered_since_s.setdefault(channel.aa_address, self._monotonic())
        return self._monotonic() > since_s + self.limits.overdue_s
