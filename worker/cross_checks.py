"""Holding channels against the state variables of their agents: a second look, by another way than history.

What a hub says about state variables is not proven, so a difference changes nothing by itself. It makes the channel be
read from its beginning; where it stays, the hub is left for another one, or a person is told.

the agent's next event is    it means
---------------------------  ---------------------------------------------------------------------------------
the one after our last       the rest of the state has to agree
another one                  for a while nothing: proofs come later than what hubs compute. Then the hub keeps
                             something back, or is behind
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from shared.channels.model import Status
from shared.logs import get_logger
from shared.obyte.hub_errors import HubRequestError
from shared.store import channels
from shared.store.alarms import AlarmKind
from worker.errors import WithholdingHubError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shared.obyte.hub_client import HubClient
    from shared.obyte.serialization import JsonValue
    from shared.store.channel_rows import StoredChannel
    from worker.alarms import Alarms
    from worker.guard import Guard

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CrossCheckPace:
    """How often channels are compared."""

    again_s: float = 10.0
    """A difference is looked at again after this."""
    patience_s: float = 120.0
    """How long a hub may know of an event that it cannot prove yet."""
    per_look: int = 10
    """Channels compared in one look."""


class Agreement(Enum):
    """How a channel and its agent's state variables go together."""

    SAME = auto()
    OTHER_EVENT = auto()
    """One of them has seen more events than the other."""
    CONTRADICTION = auto()
    """After the same events they differ."""


def compare(stored: StoredChannel, variables: Mapping[str, JsonValue]) -> Agreement:
    """Compare a channel with the state of its agent as a hub tells it."""
    channel = stored.channel
    is_a = stored.role == "A"
    if _number(variables.get("event_id", 1)) != channel.last_event_id + 1:
        return Agreement.OTHER_EVENT
    balance_a, balance_b = (_number(variables.get(name, 0)) for name in ("balanceA", "balanceB"))
    mine, theirs = (balance_a, balance_b) if is_a else (balance_b, balance_a)
    initiators = {Status.CLOSING_BY_ME: "A" if is_a else "B", Status.CLOSING_BY_PEER: "B" if is_a else "A"}
    is_same = (
        (_number(variables.get("period", 1)) == channel.current_period)
        and (channel.status is Status.CLOSED or (mine, theirs) == (channel.deposited_by_me, channel.deposited_by_peer))
        and (variables.get("close_initiated_by") or None) == initiators.get(channel.status)
    )
    return Agreement.SAME if is_same else Agreement.CONTRADICTION


class CrossChecks:
    """Compares channels for one term of the lease, those asked for and all others by turns."""

    def __init__(self, guard: Guard, alarms: Alarms, monotonic: Callable[[], float], pace: CrossCheckPace) -> None:
        self._guard = guard
        self._alarms = alarms
        self._monotonic = monotonic
        self._pace = pace
        self._due: dict[str, float] = {}
        self._differs_since: dict[str, float] = {}
        self._was_read_whole: set[str] = set()
        self._last_by_turns = ""

    def ask_for(self, aa_address: str) -> None:
        """Compare this channel soon."""
        self._due.setdefault(aa_address, self._monotonic())

    def start_over(self) -> None:
        """Another connection, maybe to another hub: what the last one said proves nothing against it."""
        self._differs_since.clear()
        self._was_read_whole.clear()

    def take_turns(self, watched: Iterable[str]) -> None:
        """Compare some of the others too."""
        ordered = sorted(watched)
        following = [address for address in ordered if address > self._last_by_turns] or ordered
        for address in following[: self._pace.per_look]:
            self.ask_for(address)
            self._last_by_turns = address

    async def look(self, client: HubClient) -> frozenset[str]:
        """Compare those that are due and return the channels that should be read from their beginning.

        Raises WithholdingHubError, HubError, StoreError.
        """
        now_s = self._monotonic()
        due = [address for address, due_s in self._due.items() if due_s <= now_s][: self._pace.per_look]
        if not due:
            return frozenset()
        async with self._guard.reading() as conn:
            known = await channels.find(conn, due)
        again = set()
        for address in due:
            del self._due[address]
            if address in known and await self._differs(client, known[address]):
                again.add(address)
        return frozenset(again)

    async def _differs(self, client: HubClient, stored: StoredChannel) -> bool:
        """Whether the channel should be read from its beginning."""
        aa_address = stored.channel.aa_address
        try:
            variables = await client.get_aa_state_vars(aa_address)
        except HubRequestError:
            variables = {}  # it knows no such agent, yet
        agreement = compare(stored, variables)
        if agreement is Agreement.SAME:
            self._differs_since.pop(aa_address, None)
            if aa_address in self._was_read_whole:
                self._was_read_whole.discard(aa_address)
                self._alarms.clear(AlarmKind.CHANNEL_CONTRADICTS_LEDGER, aa_address)
            return False
        now_s = self._monotonic()
        lasts_s = now_s - self._differs_since.setdefault(aa_address, now_s)
        self._due[aa_address] = now_s + self._pace.again_s
        if agreement is Agreement.OTHER_EVENT:
            if lasts_s >= self._pace.patience_s:
                raise WithholdingHubError(f"the state of {aa_address} is not the one that the hub's history leads to")
            is_time = lasts_s >= self._pace.patience_s / 2
        else:
            is_time = lasts_s > 0
            if aa_address in self._was_read_whole:
                self._alarms.raise_(AlarmKind.CHANNEL_CONTRADICTS_LEDGER, aa_address, source="state variables")
        if not is_time or aa_address in self._was_read_whole:
            return False
        self._was_read_whole.add(aa_address)
        logger.warning("channel_differs", aa_address=aa_address, how=agreement.name.lower())
        return True


def _number(value: JsonValue) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
