"""The payment channel agent, versions 1.1 and 1.2, as a state machine (Obyte, `channels_base_aa_1.1`; our own 1.2).

It must be as trusting and as quirky as the agents on the real ledger: whoever tests a wallet here must meet every
weakness the wallet will meet there. With 1.1 anyone, even the cheating party itself, collects the whole channel with a
valid fraud proof, and a party that is an agent itself can refuse its payout and so hold the other one's; 1.2 mends
both. The rows, first match wins ("party" means that the trigger comes from A or B):

    received                             channel     outcome
    -----------------------------------  ----------  --------------------------------------------------------------
    fewer than 10000 bytes               any         bounced, nothing returned
    party; the channel's money (base:    open        deposit: `open`, the party's balance grows by all of it
      more than 10000 bytes)             closing     `refused`, returned (base: less 10000 bytes)
    party, data.close                    open        `closing`: both claims and the time are recorded
    data.confirm                         closing     `closed`: paid out by the claims; the initiator must wait
    data.fraud_proof, data.sentByPeer    closing     `closed`: everything to whoever sent this; in 1.2 only if it is the
                                                     party that did not start the closing
    anything else                        any         bounced, returned less 10000 bytes
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Literal, Self, TypeAlias

from devnet.formula import (
    FormulaError,
    Value,
    as_result,
    differ,
    finite,
    is_integer,
    number,
    otherwise,
    select,
    text_of,
    truthy,
)
from shared.obyte.serialization import JsonValue

BASE = "base"
BOUNCE_FEE_BYTES = 10_000

Party: TypeAlias = Literal["A", "B"]
PackageVerifier: TypeAlias = Callable[[JsonValue, str], bool]
"""(signed package, address that must have signed it) -> whether the agent takes it; see `devnet.packages`."""
AgentLookup: TypeAlias = Callable[[str], bool]
"""Whether an agent is defined at an address by now."""


@dataclass(frozen=True, slots=True)
class ChannelParams:
    """What distinguishes one channel from another; `asset` is "base" or an asset's unit hash, times are seconds."""

    address: str
    address_a: str
    address_b: str
    asset: str
    timeout_s: int
    version: str = "1.1"

    @classmethod
    def of_base_agent(cls, address: str, version: str) -> Self:
        """Describe a base agent itself: it has no parameters, and so no parties."""
        return cls(address, "", "", BASE, 0, version)

    @property
    def is_base_agent(self) -> bool:
        """Whether this is no channel but the agent that channels are instances of."""
        return not self.address_a


@dataclass(frozen=True, slots=True)
class AgentState:
    """State variables of one channel agent; None is a variable that does not exist."""

    close_initiated_by: Party | None = None
    period: int | None = None
    event_id: int | None = None
    balance_a: int | None = None
    balance_b: int | None = None
    spent_by_a: int | None = None
    spent_by_b: int | None = None
    close_start_ts: int | None = None

    def variables(self) -> dict[str, int | str]:
        """Return the variables that exist, under the names they have on the ledger."""
        values = {_VARIABLE_NAMES[item.name]: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def storage_size(self) -> int:
        """Return how many bytes the variables take; an agent keeps that many bytes back when it sends all."""
        return sum(
            len(name) + len(value if isinstance(value, str) else text_of(number(value)))
            for name, value in self.variables().items()
        )


_VARIABLE_NAMES = {
    "close_initiated_by": "close_initiated_by",
    "period": "period",
    "event_id": "event_id",
    "balance_a": "balanceA",
    "balance_b": "balanceB",
    "spent_by_a": "spentByA",
    "spent_by_b": "spentByB",
    "close_start_ts": "close_start_ts",
}


@dataclass(frozen=True, slots=True)
class Trigger:
    """A unit that pays the agent: `outputs` are sums by asset in the unit's order, `data` its first data payload.

    `timestamp_s` is that of the main chain unit with which the trigger became stable.
    """

    address: str
    unit: str
    outputs: Mapping[str, int]
    data: JsonValue = field(repr=False)
    timestamp_s: int


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a response; `amount` None means all that is left of the asset."""

    address: str
    amount: int | None


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment message of a response, before coins are picked."""

    asset: str
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class Data:
    """The data message of a response: what the parties read."""

    payload: dict[str, JsonValue]


Message: TypeAlias = Payment | Data


@dataclass(frozen=True, slots=True)
class Response:
    """What the agent does with a trigger. A bounce changes no state and may return money in `messages`."""

    state: AgentState
    messages: tuple[Message, ...]
    error: JsonValue = None

    @property
    def bounced(self) -> bool:
        """Whether the trigger was turned down."""
        return self.error is not None


def _no_agents(address: str) -> bool:  # noqa: ARG001 - an answer to every address
    return False


def trigger(
    state: AgentState,
    params: ChannelParams,
    event: Trigger,
    verify: PackageVerifier,
    is_agent: AgentLookup = _no_agents,
) -> Response:
    """Execute one trigger; network fees are the caller's business."""
    if event.outputs.get(BASE, 0) < BOUNCE_FEE_BYTES:
        return Response(state, (), "received bytes are not enough to cover bounce fees")
    if params.is_base_agent:
        place = [{"type": "aa", "aa": params.address, "xpath": "/init"}]
        return bounce(state, event, {"message": "booleans cannot be compared with other types", "trace": place})
    return _Execution(state, params, event, verify, is_agent).run()


def bounce(state: AgentState, event: Trigger, error: JsonValue) -> Response:
    """Turn a trigger down and return what it brought, less the bounce fee."""
    left = {asset: amount - (BOUNCE_FEE_BYTES if asset == BASE else 0) for asset, amount in event.outputs.items()}
    if left.get(BASE, -1) < 0:
        return Response(state, (), error)
    returned = tuple(Payment(asset, (Output(event.address, amount),)) for asset, amount in left.items() if amount)
    return Response(state, returned, error)


@dataclass(frozen=True, slots=True)
class _Execution:
    state: AgentState
    params: ChannelParams
    event: Trigger
    verify: PackageVerifier
    is_agent: AgentLookup

    def run(self) -> Response:
        cases = (self._deposit, self._close, self._confirm, self._fraud_proof)
        for index, case in enumerate(cases):
            try:
                response = case()
            except FormulaError as failure:
                place = {"type": "aa", "aa": self.params.address, "xpath": f"/messages/cases/{index}/init"}
                return bounce(self.state, self.event, {"message": failure.message, "trace": [place]})
            if response is not None:
                return response
        error = {"message": "neither case is true in messages", "xpath": "/messages/cases"}
        return bounce(self.state, self.event, error)

    def _deposit(self) -> Response | None:
        received = self.event.outputs.get(self.params.asset, 0)
        if self._party is None or received <= (BOUNCE_FEE_BYTES if self.params.asset == BASE else 0):
            return None
        if self.state.close_initiated_by:
            refused = Data({"refused": 1, "trigger_unit": self.event.unit, "event_id": self._event_id})
            returned = _sum(received, -BOUNCE_FEE_BYTES) if self.params.asset == BASE else received
            payment = Payment(self.params.asset, (Output(self.event.address, returned),))
            return Response(self._next_event(), (refused, payment))
        if self._is_repaired and (self.is_agent(self.params.address_a) or self.is_agent(self.params.address_b)):
            raise FormulaError("an agent cannot be a party")
        balance_a, balance_b = self.state.balance_a, self.state.balance_b
        if self._party == "A":
            balance_a = _sum(balance_a or 0, received)
        else:
            balance_b = _sum(balance_b or 0, received)
        state = replace(self._next_event(), period=self.state.period or 1, balance_a=balance_a, balance_b=balance_b)
        opened = self._by_address(
            {"open": 1, "period": state.period, "event_id": self._event_id, "trigger_unit": self.event.unit},
            balance_a or 0,
            balance_b or 0,
        )
        return Response(state, (Data(opened),))

    def _close(self) -> Response | None:
        party = self._party
        if party is None or not truthy(self._data("close")) or self.state.close_initiated_by:
            return None
        self._check_period()
        spent = self._natural("transferredFromMe", "bad amount spent by me: ")
        spent_by_peer = 0
        if truthy(self._data("sentByPeer")):
            spent_by_peer = self._amount_signed_by(self.params.address_b if party == "A" else self.params.address_a)
        spent_by_a, spent_by_b = (spent, spent_by_peer) if party == "A" else (spent_by_peer, spent)
        state = replace(
            self._next_event(),
            close_initiated_by=party,
            spent_by_a=spent_by_a,
            spent_by_b=spent_by_b,
            close_start_ts=self.event.timestamp_s,
        )
        head = {"closing": 1, "period": self.state.period, "initiated_by": self.event.address}
        closing = self._by_address(
            {**head, "event_id": self._event_id, "trigger_unit": self.event.unit}, spent_by_a, spent_by_b
        )
        return Response(state, (Data(closing),))

    def _confirm(self) -> Response | None:
        state, party = self.state, self._party
        if not truthy(self._data("confirm")) or not state.close_initiated_by:
            return None
        deadline_s = (state.close_start_ts or 0) + self.params.timeout_s
        if party is None or (state.close_initiated_by == party and self.event.timestamp_s < deadline_s):
            raise FormulaError("too early")
        self._check_period()
        extra = self._natural("additionalTransferredFromMe", "bad additionalTransferredFromMe: ")
        extra_a, extra_b = (extra, 0) if party == "A" else (0, extra)
        balance_a, balance_b = state.balance_a or 0, state.balance_b or 0
        spent_a, spent_b = state.spent_by_a or 0, state.spent_by_b or 0
        final_a = max(0, _sum(balance_a, -spent_a, spent_b, extra_b, -extra_a))
        final_b = max(0, _sum(balance_b, -spent_b, spent_a, extra_a, -extra_b))
        closed: dict[str, JsonValue] = {"closed": 1, "period": state.period, "event_id": state.event_id}
        return Response(self._next_period(), (*self._payout(final_a, final_b), Data(closed)))

    def _fraud_proof(self) -> Response | None:
        initiator = self.state.close_initiated_by
        if not truthy(self._data("fraud_proof")) or not initiator or not truthy(self._data("sentByPeer")):
            return None
        if self._is_repaired and self._party in (None, initiator):
            raise FormulaError("only the other party can prove a fraud")
        signed = self._amount_signed_by(self.params.address_a if initiator == "A" else self.params.address_b)
        claimed = self.state.spent_by_a if initiator == "A" else self.state.spent_by_b
        if signed <= (claimed or 0):
            raise FormulaError("the peer didn't lie in his favor")
        assets = (BASE,) if self.params.asset == BASE else (BASE, self.params.asset)
        everything = (Payment(asset, (Output(self.event.address, None),)) for asset in assets)
        closed: dict[str, JsonValue] = {
            "closed": 1,
            "fraud_proof": 1,
            "period": self.state.period,
            "event_id": self.state.event_id,
        }
        return Response(self._next_period(), (*everything, Data(closed)))

    def _payout(self, final_a: int, final_b: int) -> tuple[Payment, ...]:
        """Pay the poorer party a fixed sum, B when they are equal, and the other one all that is left.

        1.2 pays no agent: everything goes to the other party then, to A if both are agents.
        """
        alone = None
        if self._is_repaired and self.is_agent(self.params.address_b):
            alone = self.params.address_a
        elif self._is_repaired and self.is_agent(self.params.address_a):
            alone = self.params.address_b

        def pay(asset: str, fixed_a: int, fixed_b: int) -> Payment:
            if alone is not None:
                return Payment(asset, (Output(alone, None),))
            a_is_poorer = final_a < final_b
            to_a = Output(self.params.address_a, fixed_a if a_is_poorer else None)
            to_b = Output(self.params.address_b, None if a_is_poorer else fixed_b)
            return Payment(asset, (to_a, to_b))

        if self.params.asset == BASE:
            return (pay(BASE, _sum(final_a, BOUNCE_FEE_BYTES), _sum(final_b, BOUNCE_FEE_BYTES)),)
        return pay(BASE, BOUNCE_FEE_BYTES, BOUNCE_FEE_BYTES), pay(self.params.asset, final_a, final_b)

    def _amount_signed_by(self, signer: str) -> int:
        """Return the amount a package proves, once every check both uses of packages share has passed."""
        package = select(self.event.data, "sentByPeer")
        if differ(self._data("sentByPeer", "signed_message", "aa_address"), self.params.address):
            raise FormulaError("signed for another channel")
        if differ(self._data("sentByPeer", "signed_message", "period"), _variable(self.state.period)):
            raise FormulaError("signed for a different period of this channel")
        if not isinstance(package, dict) or not self.verify(package, signer):
            raise FormulaError("invalid signature by peer")
        return _natural(self._data("sentByPeer", "signed_message", "amount_spent"), "bad amount spent by peer: ")

    def _check_period(self) -> None:
        period = self._data("period")
        if not is_integer(period) or differ(period, _variable(self.state.period)):
            raise FormulaError("wrong period")

    def _natural(self, key: str, complaint: str) -> int:
        return _natural(otherwise(self._data(key), Decimal(0)), complaint)

    def _data(self, *keys: str) -> Value:
        return select(self.event.data, *keys)

    @property
    def _is_repaired(self) -> bool:
        return self.params.version == "1.2"

    @property
    def _party(self) -> Party | None:
        if self.event.address == self.params.address_a:
            return "A"
        return "B" if self.event.address == self.params.address_b else None

    @property
    def _event_id(self) -> int:
        return self.state.event_id or 1

    def _next_event(self) -> AgentState:
        return replace(self.state, event_id=self._event_id + 1)

    def _next_period(self) -> AgentState:
        return AgentState(period=(self.state.period or 0) + 1, event_id=self._event_id + 1)

    def _by_address(self, head: dict[str, JsonValue], of_a: int, of_b: int) -> dict[str, JsonValue]:
        if self.params.address_a == self.params.address_b:
            raise FormulaError(f"duplicate key {self.params.address_b} calculated from {{$addressB}}")
        return {**head, self.params.address_a: as_result(of_a), self.params.address_b: as_result(of_b)}


def _natural(value: Value, complaint: str) -> int:
    if not is_integer(value) or not isinstance(value, Decimal) or value < 0:
        raise FormulaError(complaint + text_of(value))
    return int(value)


def _variable(value: int | None) -> Value:
    return False if value is None else number(value)


def _sum(first: int, *rest: int) -> int:
    """Add one by one, rounding after each step as formulas do."""
    total = number(first)
    for term in rest:
        total = finite(number(total + term), "+" if term >= 0 else "-")
    return int(total)
