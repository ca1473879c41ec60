"""A whole ledger in memory: units are posted, an order provider puts them in order, agents answer.

Nothing here waits or listens: time is a clock that is passed in, and the provider posts when it is told to. The
server tells it by a timer, a test by `advance` or `settle`.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from devnet.admission import admit, unit_hash_of
from devnet.dag import PROVIDER_UNITS_TO_STABILITY
from devnet.events import (
    AgentResponded,
    LedgerEvent,
    Resumed,
    SystemVarsChanged,
    UnitAdded,
    UnitsDisputed,
    UnitsProvable,
)
from devnet.execution import execute_triggers
from devnet.genesis import genesis_record
from devnet.parents import offer_parents
from devnet.reorganisation import ReorganisationError, forget, prefer, recreate
from devnet.settlement import stabilise
from devnet.state import LedgerState, RejectedError
from devnet.system_vars import SystemVars, Votes
from devnet.treasury import Treasury
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET

if TYPE_CHECKING:
    from collections.abc import Callable

    from devnet.dag import UnitRecord
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue

MAX_KNOWN_BAD = 10_000


class Ledger:
    """One local ledger. `seed` makes its keys, and with the clock its genesis, reproducible."""

    def __init__(
        self,
        network: Network = DEVNET,
        *,
        seed: bytes | None = None,
        clock: Callable[[], float] = time.time,
        tps_interval: float = 1_000,
    ) -> None:
        secret = secrets.token_bytes(32) if seed is None else seed
        self._provider = KeyPair(hashlib.sha256(b"provider" + secret).digest())
        faucet = KeyPair(hashlib.sha256(b"faucet" + secret).digest())
        self._clock = clock
        self._skipped_s = 0.0
        self.is_paused = False
        genesis = genesis_record(network, self._provider, faucet.address, int(clock()))
        self.state = LedgerState(
            replace(network, genesis_unit=genesis.hash),
            Votes((self._provider.address,), SystemVars(tps_interval=tps_interval)),
        )
        self._listeners: list[Callable[[LedgerEvent], None]] = []
        self._known_bad: OrderedDict[str, None] = OrderedDict()
        self._unsettled: dict[str, UnitRecord] = {}
        self._provable_mci = 0
        self.treasury = Treasury(self, faucet)
        self.state.add(genesis)
        self.state.dag.extend_main_chain(genesis)
        self.state.fees.index(0)
        self._stabilise(0)
        # A light client can be shown a proof only once the provider has vouched for something.
        for _ in range(PROVIDER_UNITS_TO_STABILITY + 1):
            self.advance()
        # Not in the first unit: full nodes cannot take it there, and it would be in every proof.
        self.treasury.publish_reference_agent()
        self.settle()

    @property
    def network(self) -> Network:
        """The network's constants, with this ledger's genesis unit."""
        return self.state.network

    @property
    def provider_address(self) -> str:
        """The one order provider: the witness list of light clients."""
        return self._provider.address

    @property
    def is_settled(self) -> bool:
        """Whether every unit but the provider's own is stable and can be proven to be."""
        return not self._unsettled

    def now_s(self) -> float:
        """Return the ledger's time: the clock's, plus what was skipped."""
        return self._clock() + self._skipped_s

    def skip_time(self, seconds: float) -> None:
        """Let time pass at once. Units made from now on carry the later timestamps, so timeouts elapse.

        Clients whose clocks stay behind refuse such units as coming from the future, and can do nothing until they have
        caught up: this is for tests that set the clients' clocks too. For others there is `skip_agent_time`.
        """
        if seconds < 0:
            raise ValueError("time does not go back")
        self._skipped_s += seconds

    def skip_agent_time(self, seconds: int) -> None:
        """Let time pass for agents alone: timeouts elapse while units keep the time of the clients' clocks."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self.state.agents_ahead_s += seconds

    def pause(self) -> None:
        """Ask whoever drives the provider by a timer to let it post nothing more; `advance` and `settle` still work."""
        self.is_paused = True

    def resume(self) -> None:
        """Let the provider's timer go on."""
        self.is_paused = False
        self._tell(Resumed())

    def subscribe(self, listener: Callable[[LedgerEvent], None]) -> None:
        """Be told of everything that happens, while it happens."""
        self._listeners.append(listener)

    def post(
        self,
        joint: JsonValue,
        *,
        source: object = None,
        with_conflicts: bool = False,
        clock_offset_s: float = 0,
    ) -> UnitRecord:
        """Take a unit or raise RejectedError; `clock_offset_s` is how wrong the clock is that judges its timestamp.

        A conflict with another unit of an author is refused, as hubs refuse it from light clients; `with_conflicts`
        takes it, as full nodes have to when it comes from elsewhere in the network.
        """
        unit_hash = unit_hash_of(joint)
        if unit_hash in self.state.dag.records:
            raise RejectedError("known", is_final=False)
        if unit_hash in self._known_bad:
            raise RejectedError("known bad", is_final=False)
        try:
            admitted = admit(self.state, joint, self.now_s() + clock_offset_s)
        except RejectedError as error:
            if error.is_final:
                self._remember_bad(unit_hash)
            raise
        if admitted.record.sequence != "good" and not with_conflicts:
            raise RejectedError("The transaction would be non-serial (a double spend)", is_final=False)
        self._add(admitted.record, source)
        self._dispute(admitted.record, admitted.disputed)
        return admitted.record

    def advance(self) -> UnitRecord:
        """Let the order provider post its next unit, and everything happen that this makes stable or provable."""
        address = self._provider.address
        offer = offer_parents(self.state, self.now_s(), [address], for_provider=True)
        record = self.post_own(self.treasury.provider_unit(self._provider, offer))
        first_new = len(self.state.dag.main_chain)
        self.state.dag.extend_main_chain(record)
        for mci in range(first_new, len(self.state.dag.main_chain)):
            self.state.fees.index(mci)
        while self._is_next_stable(record):
            self._stabilise(self.state.last_stable_mci + 1)
        self._announce_provable(record.last_ball_mci)
        return record

    def settle(self) -> None:
        """Let the provider post until `is_settled`."""
        while not self.is_settled:
            self.advance()

    def prefer(self, unit: str) -> None:
        """Let a unit in conflict win over those seen before it. Raises ReorganisationError."""
        prefer(self.state, self._record(unit))

    def forget(self, unit: str) -> None:
        """Let a unit, and all that stands on it, vanish without a word. Raises ReorganisationError."""
        for record in forget(self.state, self._record(unit)):
            self._unsettled.pop(record.hash, None)

    def recreate(self, unit: str) -> UnitRecord:
        """Make an agent's unstable answer anew, under another hash. Raises ReorganisationError."""
        again = recreate(self.state, self._record(unit))
        self._unsettled.pop(unit, None)
        self._unsettled[again.hash] = again
        self._tell(UnitAdded(again, None))
        return again

    def vote(self, subject: str, value: float) -> None:
        """Put another value of a system variable in force for units on later last balls. Raises ValueError."""
        self.state.votes.count(self.state.last_stable_mci, subject, value)
        self._tell(SystemVarsChanged())

    def post_own(self, joint: JsonValue) -> UnitRecord:
        """Take a unit of the ledger's own keys."""
        record = admit(self.state, joint, self.now_s()).record
        self._add(record, None)
        return record

    def _record(self, unit: str) -> UnitRecord:
        record = self.state.dag.records.get(unit)
        if record is None:
            raise ReorganisationError("there is no such unit")
        return record

    def _add(self, record: UnitRecord, source: object) -> None:
        self.state.add(record)
        if not record.is_provider:
            self._unsettled[record.hash] = record
        self._tell(UnitAdded(record, source))

    def _dispute(self, record: UnitRecord, rivals: tuple[UnitRecord, ...]) -> None:
        if record.sequence == "final-bad":
            self.state.void(record)
        if record.sequence != "temp-bad":
            return
        turned = tuple(rival for rival in rivals if rival.sequence == "good")
        for rival in turned:
            rival.sequence = "temp-bad"
        for disputed in (record, *turned):
            self.state.disputed_authors.update(disputed.authors)
        if turned:
            self._tell(UnitsDisputed(turned))

    def _is_next_stable(self, newest: UnitRecord) -> bool:
        mci = self.state.last_stable_mci + 1
        if mci >= len(self.state.dag.main_chain):
            return False
        return self.state.dag.is_stable_in_view_of(self.state.dag.main_chain[mci], [newest.hash])

    def _stabilise(self, mci: int) -> None:
        stabilise(self.state, mci)
        for shunned, preferred in list(self.state.shunned.items()):
            if self.state.dag.records[preferred].is_stable:
                del self.state.shunned[shunned]
        for response in execute_triggers(self.state, mci, self.now_s()):
            unit = response.full["response_unit"]
            if isinstance(unit, str):
                record = self.state.dag.records[unit]
                self._unsettled[record.hash] = record
                self._tell(UnitAdded(record, None))
            self._tell(AgentResponded(response))
        self.state.fees.settle(mci)

    def _announce_provable(self, mci: int) -> None:
        records = [record for known in self.state.dag.by_mci[self._provable_mci + 1 : mci + 1] for record in known]
        self._provable_mci = max(self._provable_mci, mci)
        for record in records:
            self._unsettled.pop(record.hash, None)
        if records:
            self._tell(UnitsProvable(tuple(records)))

    def _remember_bad(self, unit_hash: str) -> None:
        self._known_bad[unit_hash] = None
        if len(self._known_bad) > MAX_KNOWN_BAD:
            self._known_bad.popitem(last=False)

    def _tell(self, event: LedgerEvent) -> None:
        for listener in self._listeners:
            listener(event)
