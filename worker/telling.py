"""What those who follow the stream of events learn of the agent's answers; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.channels.ledger import Closed, Closing, Opened, Refused
from shared.store.events import EventKind, NewEvent

if TYPE_CHECKING:
    from shared.channels.ledger import LedgerEvent
    from shared.channels.model import Channel


def told(event: LedgerEvent, channel: Channel, *, unit: str, is_ours: bool) -> NewEvent | None:
    """Return the event that tells of an answer of the agent, None where it concerns only the peer.

    `unit`: the agent's response. `is_ours`: the deposit that was answered is one of ours. Amounts are in the channel's
    asset.
    """
    facts: dict[str, Any] = {"asset": channel.asset, "unit": unit}
    match event:
        case Opened():
            kind = EventKind.MY_DEPOSIT_BECAME_STABLE if is_ours else EventKind.PEER_DEPOSIT_BECAME_STABLE
            total = event.balance_of_me if is_ours else event.balance_of_peer
            facts |= {"period": event.period, "deposited": total, "trigger_unit": event.trigger_unit}
        case Refused():
            if not is_ours:
                return None
            kind = EventKind.REFUSED_DEPOSIT
            facts |= {"trigger_unit": event.trigger_unit}
        case Closing():
            kind = EventKind.CHANNEL_CLOSING
            facts |= {
                "period": event.period,
                "by": "me" if event.by_me else "peer",
                "spent_by_peer": event.spent_by_peer,
                "spent_by_me": event.spent_by_me,
                "timeout_s": channel.timeout_s,
                "trigger_unit": event.trigger_unit,
            }
        case Closed():
            kind = EventKind.CHANNEL_CLOSED_WITH_FRAUD_PROOF if event.by_fraud_proof else EventKind.CHANNEL_CLOSED
            facts |= {"period": event.period, "received": event.received}
    return NewEvent(kind, channel.aa_address, facts)
