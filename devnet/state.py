"""Everything the ledger knows, in memory, shared by the modules that check, settle, execute and answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from devnet.agent import AgentState, ChannelParams
from devnet.dag import Dag, UnitRecord
from devnet.fees import TpsFees
from devnet.outputs import OutputTable, outputs_of
from shared.obyte.addresses import is_agent_definition
from shared.obyte.errors import SignedMessageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devnet.responses import AgentResponse
    from devnet.system_vars import Votes
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue


class RejectedError(Exception):
    """A unit the ledger does not take; `text` is what `post_joint` answers.

    `is_final` says that the same unit will never be taken: it becomes `known bad`.
    """

    def __init__(self, text: str, *, is_final: bool = True) -> None:
        """Take the text for the poster."""
        self.text = text
        self.is_final = is_final
        super().__init__(text)


@dataclass(slots=True)
class Agent:
    """A channel agent on the ledger; `balances` by asset are what it really owns, dust and change included."""

    params: ChannelParams
    definition: JsonValue = field(repr=False)
    definition_unit: str
    defined_mci: int
    state: AgentState = field(default_factory=AgentState)
    balances: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asset:
    """A capped, public, transferable asset that only its definer issues, once and whole."""

    cap: int
    definer: str
    defined_mci: int


class LedgerState:
    """The graph, the money, and what stable units have established."""

    def __init__(self, network: Network, votes: Votes) -> None:
        self.network = network
        self.votes = votes
        self.dag = Dag()
        self.outputs = OutputTable()
        self.fees = TpsFees(self.dag, votes)
        self.last_stable_mci = -1
        self.definitions: dict[str, tuple[JsonValue, int]] = {}
        """Definitions disclosed in stable good units, with the main chain index of the first one."""
        self.agents: dict[str, Agent] = {}
        self.known_definitions: dict[str, JsonValue] = {}
        """Definitions of addresses and agents in any unit, stable or not."""
        self.assets: dict[str, Asset] = {}
        self.live_units_by_author: dict[str, list[UnitRecord]] = {}
        """Units that are not void, in order of arrival."""
        self.shunned: dict[str, str] = {}
        """Units in conflict that the provider overlooks, by each the rival that shall win."""
        self.disputed_authors: set[str] = set()
        """Authors with units in conflict that are not decided yet."""
        self.units_by_address: dict[str, list[UnitRecord]] = {}
        """Units an address wrote or was paid by, in order of arrival: its history."""
        self.agents_ahead_s = 0
        """How much later it is for agents than main chain units say: for tests of timeouts with real clocks."""
        self.agent_units: list[UnitRecord] = []
        self.response_count = 0
        self.responses_by_trigger: dict[str, list[AgentResponse]] = {}
        self.responses_by_agent: dict[str, list[AgentResponse]] = {}

    def add(self, record: UnitRecord) -> None:
        """Book a unit that has passed every check."""
        self.dag.add(record)
        self.outputs.add(record.hash, record.unit)
        for author in record.authors:
            self.live_units_by_author.setdefault(author, []).append(record)
        for address, definition in disclosed_definitions(record.unit):
            self.known_definitions.setdefault(address, definition)
        for address in touched_addresses(record):
            self.units_by_address.setdefault(address, []).append(record)

    def void(self, record: UnitRecord) -> None:
        """Take a unit's effects back because it lost to a conflicting one."""
        record.sequence = "final-bad"
        self.outputs.void(record.hash, record.unit)
        for author in record.authors:
            self.live_units_by_author[author].remove(record)
        self.end_disputes(record)

    def end_disputes(self, record: UnitRecord) -> None:
        """Strike off authors of a unit who have none in conflict any more."""
        for author in record.authors:
            if all(unit.sequence == "good" for unit in self.live_units_by_author[author]):
                self.disputed_authors.discard(author)

    def remember(self, response: AgentResponse) -> None:
        """Keep what came of a trigger for those who ask later."""
        self.response_count += 1
        self.responses_by_trigger.setdefault(response.trigger_unit, []).append(response)
        self.responses_by_agent.setdefault(response.aa_address, []).append(response)

    def last_stable(self) -> UnitRecord:
        """Return the newest stable main chain unit."""
        return self.dag.main_chain[self.last_stable_mci]

    def min_retrievable_mci(self) -> int:
        """Return the index below which the ledger keeps void units only stripped."""
        return self.last_stable().last_ball_mci

    def is_known_agent(self, address: str) -> bool:
        """Whether an address is an agent's, stable or only announced."""
        return address in self.agents or is_agent_definition(self.known_definitions.get(address))

    def definition_before(self, address: str, last_ball_mci: int) -> JsonValue:
        """Return the definition an address had disclosed by a stable point of the main chain, None if none."""
        definition, mci = self.definitions.get(address, (None, 0))
        return definition if mci <= last_ball_mci else None

    def definition_at_unit(self, address: str, last_ball_unit: str) -> JsonValue:
        """Return the definition disclosed up to a stable unit. Raises `SignedMessageError` when it is not stable."""
        record = self.dag.records.get(last_ball_unit)
        if record is None or record.mci is None or not record.is_stable:
            raise SignedMessageError("unknown_last_ball_unit", "last_ball_unit is not a stable unit")
        return self.definition_before(address, record.mci)

    def conflicts_of(self, authors: tuple[str, ...], parents: tuple[str, ...]) -> list[UnitRecord]:
        """List the living units of these authors that a unit with these parents would not include."""
        conflicts = []
        for author in authors:
            for record in reversed(self.live_units_by_author.get(author, ())):
                if not self.dag.includes(record, parents):
                    conflicts.append(record)
                elif author not in self.disputed_authors:
                    break  # without a conflict every unit of an author includes all earlier ones
        return conflicts


def touched_addresses(record: UnitRecord) -> dict[str, None]:
    """Addresses that wrote or are paid by a unit, each once."""
    paid = (output.address for output in outputs_of(record.hash, record.unit))
    return dict.fromkeys((*record.authors, *paid))


def disclosed_definitions(unit: dict[str, Any]) -> Iterator[tuple[str, JsonValue]]:
    """Yield address and definition of whoever shows it in a unit: authors and agents."""
    for author in unit["authors"]:
        if "definition" in author:
            yield author["address"], author["definition"]
    for message in unit["messages"]:
        if message["app"] == "definition":
            yield message["payload"]["address"], message["payload"]["definition"]
