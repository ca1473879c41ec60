"""What needs a person's eyes now. A row stands as long as its reason does; the log keeps what is over."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from shared.store.json_text import from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.store.database import Connection

Severity = Literal["warning", "critical"]


class AlarmKind(StrEnum):
    """Every alarm there is. The names are stable: rules and manuals refer to them."""

    DEADLINE_NEAR = "deadline_near"
    CLOSING_OVERDUE = "closing_overdue"
    FRAUD_SEEN = "fraud_seen"
    TRIGGER_FAILING = "trigger_failing"
    CHANNEL_CONTRADICTS_LEDGER = "channel_contradicts_ledger"
    WALLET_LOW = "wallet_low"
    FEE_HIGH = "fee_high"
    HUB_AWAY = "hub_away"
    HUB_LIES = "hub_lies"
    HUB_UPGRADE_REQUIRED = "hub_upgrade_required"
    HISTORY_TOO_LARGE = "history_too_large"
    ORDER_PROVIDERS_DIFFER = "order_providers_differ"
    CLOCK_DIFFERS = "clock_differs"
    EXPOSURE_NEAR_LIMIT = "exposure_near_limit"
    EXPOSURE_LIMIT = "exposure_limit"
    ROBBED = "robbed"
    RESTORED_DATABASE = "restored_database"
    AGENT_CROWDED = "agent_crowded"
    WEBHOOK_AWAY = "webhook_away"

    @property
    def severity(self) -> Severity:
        """`critical`: money may be lost unless somebody acts."""
        return "critical" if self in _CRITICAL else "warning"

    @property
    def advice(self) -> str:
        """What to do about it, in a sentence."""
        return _ADVICE[self]


_CRITICAL = frozenset(
    {
        AlarmKind.DEADLINE_NEAR,
        AlarmKind.CHANNEL_CONTRADICTS_LEDGER,
        AlarmKind.WALLET_LOW,
        AlarmKind.HUB_AWAY,
        AlarmKind.HUB_UPGRADE_REQUIRED,
        AlarmKind.EXPOSURE_LIMIT,
        AlarmKind.ROBBED,
        AlarmKind.RESTORED_DATABASE,
        AlarmKind.AGENT_CROWDED,
    }
)

_ADVICE = {
    AlarmKind.DEADLINE_NEAR: "A peer's closing is unanswered, its timeout is near: see why our unit does not arrive.",
    AlarmKind.CLOSING_OVERDUE: "A closing of ours should have ended by now: see why its confirmation does not arrive.",
    AlarmKind.FRAUD_SEEN: "A peer claimed less than he has signed. The proof is on its way; stop dealing with him.",
    AlarmKind.TRIGGER_FAILING: "A unit for a channel fails again and again: the log has what the hub or agent says.",
    AlarmKind.CHANNEL_CONTRADICTS_LEDGER: "The ledger does not say what our records say: compare with an explorer.",
    AlarmKind.WALLET_LOW: "Send bytes to the wallet's address: its channels could not be settled with what is left.",
    AlarmKind.FEE_HIGH: "The network asks for more than the fee limit: units that can wait are waiting.",
    AlarmKind.HUB_AWAY: "No hub can be reached, closings of peers go unseen: add hubs to SLUICE_HUB_URL.",
    AlarmKind.HUB_LIES: "A hub told what is not true, or kept something back: take it out of SLUICE_HUB_URL.",
    AlarmKind.HUB_UPGRADE_REQUIRED: "The hub does not speak with this release any more: upgrade.",
    AlarmKind.HISTORY_TOO_LARGE: "An address has more units than a hub tells at once: use a hub with higher limits.",
    AlarmKind.ORDER_PROVIDERS_DIFFER: "The network has voted for order providers that are not pinned: look at both.",
    AlarmKind.CLOCK_DIFFERS: "This machine's clock differs from the ledger's: set it, and keep it set (NTP).",
    AlarmKind.EXPOSURE_NEAR_LIMIT: "What peers could steal through agent 1.1 nears its limit: channels are swept.",
    AlarmKind.EXPOSURE_LIMIT: "The limit of what is at risk is reached: payments of agent 1.1 channels are refused.",
    AlarmKind.ROBBED: "A peer has emptied a channel and is blocked: look at it, see `sluice channels forgive`.",
    AlarmKind.RESTORED_DATABASE: "The database is older than what was signed: see `records` in `sluice doctor`.",
    AlarmKind.AGENT_CROWDED: "A channel's agent was sent so many coins that it may fail to pay out: decision 0016, W4.",
    AlarmKind.WEBHOOK_AWAY: "A webhook takes nothing, or was disabled: `sluice webhooks deliveries`, then `resume`.",
}


@dataclass(frozen=True, slots=True)
class Alarm:
    """One reason for alarm; `subject` is the channel, asset, hub or webhook that it is about, or empty."""

    kind: AlarmKind
    subject: str
    facts: dict[str, Any]
    raised_at: datetime


_PUT = """
    INSERT INTO alarms (kind, subject, severity, facts) VALUES ($1, $2, $3, $4)
    ON CONFLICT (kind, subject) DO UPDATE SET severity = excluded.severity, facts = excluded.facts
"""

_CLEAR = "DELETE FROM alarms WHERE kind = $1 AND subject = $2"

# Kinds of a later release are left to it.
_ACTIVE = """
    SELECT kind, subject, facts, raised_at FROM alarms WHERE kind = ANY($1::text[]) ORDER BY raised_at, kind, subject
"""


async def put(conn: Connection, kind: AlarmKind, subject: str, facts: Mapping[str, Any]) -> None:
    """Raise an alarm, or renew what it says. Worker only."""
    await conn.execute(_PUT, kind.value, subject, kind.severity, to_text(dict(facts)))


async def clear(conn: Connection, kind: AlarmKind, subject: str) -> None:
    """Take an alarm down: its reason is gone. Worker only."""
    await conn.execute(_CLEAR, kind.value, subject)


async def active(conn: Connection) -> list[Alarm]:
    """Return the alarms that stand, the oldest first."""
    rows = await conn.fetch(_ACTIVE, [kind.value for kind in AlarmKind])
    return [Alarm(AlarmKind(row["kind"]), row["subject"], from_text(row["facts"]), row["raised_at"]) for row in rows]
