"""What one proven answer of the hub says about one channel.

a unit touching the agent is     it means
-------------------------------  -----------------------------------------------------------------------------
the agent's, stable, serial      an event of the channel, or a bounce (no data)
a party's, stable, serial        executed: its event or its bounce follows, maybe only in a later answer
a party's, stable, nonserial     void: it never happened
the peer's, unstable             a deposit or closing on its way
asked for and not in the answer  unknown to the hub: it vanished, or never arrived
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.agent.responses import Response, bounce_reason, read_responses
from shared.agent.triggers import touched_addresses

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.channels.model import Channel
    from shared.obyte.history import ProvenHistory, ProvenUnit


@dataclass(frozen=True, slots=True)
class News:
    """What is known of one channel's units by one answer. Units are named by their hashes."""

    responses: tuple[Response, ...] = ()
    """Events in the order of their numbers, those known before among them."""
    unstable: tuple[ProvenUnit, ...] = ()
    stable: frozenset[str] = frozenset()
    void: frozenset[str] = frozenset()
    bounced: Mapping[str, str] = field(default_factory=dict)
    """By trigger unit why the agent turned it down, for triggers proven stable. The bounce itself is a hint."""

    @property
    def told(self) -> frozenset[str]:
        """All units the answer has."""
        return self.stable | self.void | {unit.unit_hash for unit in self.unstable}


def news_by_address(history: ProvenHistory, addresses: Iterable[str]) -> dict[str, list[ProvenUnit]]:
    """Sort the units of an answer by the addresses they touch; addresses without news are left out."""
    wanted = frozenset(addresses)
    found: dict[str, list[ProvenUnit]] = {}
    for unit in history.units:
        for address in touched_addresses(unit.unit) & wanted:
            found.setdefault(address, []).append(unit)
    return found


def read_news(channel: Channel, units: Iterable[ProvenUnit], history: ProvenHistory) -> News:
    """Read what `units`, those of the answer that matter to the channel, say. Raises UnreadableResponseError."""
    known = tuple(units)
    stable = frozenset(unit.unit_hash for unit in known if unit.is_stable and not unit.is_nonserial)
    return News(
        responses=tuple(read_responses(known, channel)),
        unstable=tuple(unit for unit in known if not unit.is_stable),
        stable=stable,
        void=frozenset(unit.unit_hash for unit in known if unit.is_stable and unit.is_nonserial),
        bounced={
            hint.trigger_unit: bounce_reason(hint.response)
            for hint in history.aa_responses
            if hint.bounced and hint.aa_address == channel.aa_address and hint.trigger_unit in stable
        },
    )
