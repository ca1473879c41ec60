"""Actors for tests on the local ledger: they compose real units with the product's own composer."""

from __future__ import annotations

import contextlib
import copy
import json
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from devnet import hub
from devnet.parents import offer_parents
from devnet.proofs import prove
from devnet.session import Session
from shared.obyte.agents import channel_address, channel_definition
from shared.obyte.coins import BASE, Coin
from shared.obyte.composing import Output, Parents, compose, data_message, definition_message
from shared.obyte.history import ProvenHistory, prove_history
from shared.obyte.keys import KeyPair
from shared.obyte.signed_messages import sign_message
from shared.obyte.units import headers_commission, payload_commission, payload_hash, unit_hash, unit_hash_to_sign

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from devnet.dag import UnitRecord
    from devnet.ledger import Ledger
    from devnet.outputs import LedgerOutput


class Actor:
    """A key with money on a ledger."""

    def __init__(self, ledger: Ledger, number: int) -> None:
        self.ledger = ledger
        self.key = KeyPair(bytes([number]) * 32)
        self.address = self.key.address

    def fund(self, amount: int = 1_000_000_000, asset: str = BASE) -> None:
        self.ledger.treasury.fund(self.address, amount, asset)
        self.ledger.settle()

    def coins(self) -> list[Coin]:
        state = self.ledger.state
        outputs = [
            o for o in state.outputs.unspent(self.address) if state.dag.records[o.outpoint.unit].sequence == "good"
        ]
        return [_coin(self.ledger, output) for output in outputs]

    def balance(self, asset: str = BASE) -> int:
        return sum(output.amount for output in self.ledger.state.outputs.unspent(self.address) if output.asset == asset)

    def compose(
        self,
        payments: Sequence[Output],
        messages: Sequence[Mapping[str, Any]] = (),
        *,
        max_aa_responses: int | None = None,
        coins: Iterable[Coin] | None = None,
        parents: Parents | None = None,
    ) -> dict[str, Any]:
        parents = parents or self.parents([output.address for output in payments], max_aa_responses)
        known = self.ledger.state.definition_before(self.address, parents.last_ball_mci)
        joint = compose(
            network=self.ledger.network,
            key=self.key,
            coins=self.coins() if coins is None else coins,
            parents=parents,
            payments=payments,
            messages=messages,
            include_definition=known is None,
            max_aa_responses=max_aa_responses,
        )
        return copy.deepcopy(dict(joint.as_json()))

    def parents(self, paid: Sequence[str] = (), max_aa_responses: int | None = None) -> Parents:
        offer = offer_parents(
            self.ledger.state, self.ledger.now_s(), [self.address], [self.address, *paid], max_aa_responses or 10
        )
        return Parents(
            offer.timestamp_s,
            offer.parents,
            str(offer.last_ball.ball),
            offer.last_ball.hash,
            offer.last_ball.mci or 0,
            offer.tps_fee,
            offer.triggered_agents,
        )

    def pay(self, address: str, amount: int, asset: str = BASE) -> UnitRecord:
        return self.ledger.post(self.compose([Output(address, amount, asset)]))

    def trigger(self, agent: str, data: dict[str, Any] | None = None, amount: int = 10_000) -> UnitRecord:
        messages = [] if data is None else [data_message(data)]
        return self.ledger.post(self.compose([Output(agent, amount)], messages, max_aa_responses=1))

    def resigned(self, unit: dict[str, Any], *, fees: bool = True) -> dict[str, Any]:
        """Make a changed unit consistent again, so that only the change itself can be wrong.

        What it has grown is paid for out of its largest output.
        """
        network = self.ledger.network
        unit["authors"][0]["authentifiers"] = {"r": "-" * 88}
        if fees:
            grown = payload_commission(unit, network) - unit["payload_commission"]
            unit["headers_commission"] = headers_commission(unit, network)
            unit["payload_commission"] += grown
            if grown > 0:
                change = max(_base_payment(unit)["outputs"], key=lambda output: output["amount"])
                change["amount"] -= grown
                _base_payment(unit)["outputs"].sort(key=lambda output: (output["address"], output["amount"]))
        for message in unit["messages"]:
            message["payload_hash"] = payload_hash(message["payload"])
        unit["authors"][0]["authentifiers"] = {"r": self.key.sign(unit_hash_to_sign(unit, network))}
        unit["unit"] = unit_hash(unit, network)
        return {"unit": unit}


@dataclass(frozen=True, slots=True)
class TestChannel:
    """A channel between A, who was asked, and B, who opened it."""

    __test__ = False  # no test class, whatever its name says

    ledger: Ledger
    a: Actor
    b: Actor
    asset: str = BASE
    timeout_s: int = 1000
    salt: str = "salt"
    version: str = "1.1"

    @property
    def address(self) -> str:
        return channel_address(self.a.address, self.b.address, self.asset, self.timeout_s, self.salt, self.version)

    def open_unit(self, amount: int) -> dict[str, Any]:
        definition = channel_definition(
            self.a.address, self.b.address, self.asset, self.timeout_s, self.salt, self.version
        )
        outputs = [Output(self.address, amount, self.asset)]
        if self.asset != BASE:
            outputs.append(Output(self.address, 10_000))
        return self.b.compose(outputs, [definition_message(self.address, definition)])

    def open(self, amount: int = 200_000) -> None:
        self.ledger.post(self.open_unit(amount))
        self.ledger.settle()

    def signed(self, payer: Actor, amount_spent: int, period: int = 1) -> dict[str, Any]:
        terms = {"payment_amount": 1, "amount_spent": amount_spent, "period": period, "aa_address": self.address}
        return sign_message(terms, payer.key, self.ledger.network)

    def responses(self) -> list[dict[str, Any]]:
        """Data payloads the agent answered with so far, None for a bounce."""
        told = []
        for response in self.ledger.state.responses_by_agent.get(self.address, ()):
            unit: Any = response.full["objResponseUnit"]
            payloads = [m["payload"] for m in unit["messages"] if m["app"] == "data"] if unit else []
            told.append(payloads[0] if payloads else {"bounced": response.full["bounced"]})
        return told


def history(ledger: Ledger, *addresses: str) -> ProvenHistory:
    """What a light client concludes about addresses; fails the test when the proof does not hold."""
    records = {record.hash: record for a in addresses for record in ledger.state.units_by_address.get(a, ())}
    shown = [record for record in records.values() if record.sequence == "good" or record.is_stable]
    answer = prove(ledger.state, shown) if shown else {}
    return prove_history(answer, [ledger.provider_address], ledger.network, now_s=ledger.now_s())


def _base_payment(unit: dict[str, Any]) -> dict[str, Any]:
    return next(m["payload"] for m in unit["messages"] if m["app"] == "payment" and "asset" not in m["payload"])


def _coin(ledger: Ledger, output: LedgerOutput) -> Coin:
    record = ledger.state.dag.records[output.outpoint.unit]
    place = output.outpoint
    return Coin(
        place.unit, place.message_index, place.output_index, output.address, output.asset, output.amount, mci=record.mci
    )


class Client:
    """A client of the hub without a socket: frames go straight into a session and come out as JSON."""

    def __init__(self, hub: hub.Hub, *, is_local: bool = True) -> None:
        self.frames: list[Any] = []
        self.raw_frames: list[str | bytes] = []
        self.delays: list[float] = []
        self.is_closed = self.is_cut = False
        self._tags = count(1)
        self.session = Session(hub, send=self._take, close=self._close, cut=self._cut, is_local=is_local)
        self.session.open()

    def say(self, subject: str, body: Any = None) -> None:
        self.session.receive(json.dumps(["justsaying", {"subject": subject, "body": body}]))

    def ask(self, command: str, params: Any = None) -> Any:
        """Send a request and return its answer; `{}` as a frame without answer raises LookupError."""
        tag = str(next(self._tags))
        content = {"command": command, "tag": tag} | ({} if params is None else {"params": params})
        self.session.receive(json.dumps(["request", content]))
        for kind, answer in self.frames:
            if kind == "response" and answer["tag"] == tag:
                return answer.get("response")
        raise LookupError(f"no answer to {command}")

    def told(self, subject: str) -> list[Any]:
        """Bodies of all justsayings of a subject so far."""
        return [body.get("body") for kind, body in self.frames if kind == "justsaying" and body["subject"] == subject]

    def _take(self, frame: str | bytes, delay_s: float) -> None:
        self.raw_frames.append(frame)
        with contextlib.suppress(ValueError):
            self.frames.append(json.loads(frame))
        self.delays.append(delay_s)

    def _close(self) -> None:
        self.is_closed = True

    def _cut(self) -> None:
        self.is_cut = True


class Hub(hub.Hub):
    """A hub whose clients need no sockets."""

    def connect(self, *, is_local: bool = True) -> Client:
        return Client(self, is_local=is_local)
