"""Replays what a real wallet said to a real hub, and compares what the local hub answers.

The recorded network has keys and hashes of its own, so every name in it is translated: order providers, wallets,
devices and channels to those made here, units to those composed here for the same purpose. Requests are sent in their
order. When the recorded hub next says something by itself, the local ledger moves on until the local hub does.

Compared are, per connection, the order of what the hub says by itself; and message by message, answers matched by
their tags, the shape: keys, types, lengths of lists where they mean something, and every text that is no identifier.
Every history must be proven besides.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devnet.ledger import Ledger
from shared.obyte.addresses import definition_address, device_address
from shared.obyte.composing import Output, data_message, definition_message
from shared.obyte.hashing import device_digest
from shared.obyte.history import prove_history
from shared.obyte.keys import KeyPair
from tests.devnet_support import Actor, Client, Hub

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent / "vectors" / "obyte" / "transcripts"
FILES = sorted(path.name for path in FOLDER.glob("0*.jsonl"))
WALLET = "NCF7W33W3WWFKXCJYYJJCLWZC5UOKTHC"
MAX_ADVANCES = 10
AGENT_TIMEOUT_S = 30
_IDENTIFIERS = {
    "address": re.compile(r"[A-Z2-7]{32}"),
    "device": re.compile(r"0[A-Z2-7]{32}"),
    "hash or key": re.compile(r"[A-Za-z0-9+/]{43}[A-Za-z0-9+/=]"),
    "challenge": re.compile(r"[A-Za-z0-9+/]{40}"),
    "signature": re.compile(r"[A-Za-z0-9+/]{86}=="),
    "date": re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
}
_NOT_COMPARED = re.compile(r"(unstable_mc_joints|definition_joints)\[\]\.unit\.(messages|authors)")
"""Who happens to write main chain units, and what, is no matter of the protocol."""
_NO_COUNTERPARTS = re.compile(r"unstable_mc_joints|definition_joints|proofchain")
"""Units in these lists stand for no recorded ones."""
_COUNTED = {"joints", "aa_responses"}
"""Lists of a history that have to be equally long; the proof depends on how the main chain went."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the local hub does not do what the recorded one did."""

    file: str
    line: int
    place: str
    recorded: str
    local: str


@dataclass(slots=True)
class _Connection:
    client: Client
    said: Iterator[Any]
    """What the hub says by itself, not compared yet."""
    tags: dict[str, str] = field(default_factory=dict)


class Replay:
    """The whole recorded story, told to a local hub."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0
        self.ledger = Ledger(seed=b"transcripts", clock=lambda: self.now_s)
        self.hub = Hub(self.ledger)
        self.wallet = Actor(self.ledger, 1)
        self.payer = Actor(self.ledger, 2)
        self.payer.fund(10_000_000_000)
        self.payer.pay(self.payer.address, 1)
        self.ledger.settle()
        self.differences: list[Difference] = []
        self.histories = 0
        self._connections: dict[int, _Connection] = {}
        self._devices: dict[str, KeyPair] = {}
        self._names: dict[str, str] = {WALLET: self.wallet.address}
        self._mcis: list[tuple[int, int]] = []
        self._place = ("", 0)

    def run(self) -> list[Difference]:
        """Replay all files and return every difference."""
        story = [(name, frames(name)) for name in FILES]
        self._learn_channels([frame for _, told in story for frame in told])
        for name, told in story:
            for line, frame in enumerate(told, 1):
                self._place = (name, line)
                self._replay(frame)
        for connection in self._connections.values():
            self._compare_end(connection)
        return self.differences

    def _replay(self, frame: dict[str, Any]) -> None:
        number, message = frame["conn"], frame["message"]
        if frame["direction"] == "event":
            if message["event"] == "close" and number in self._connections:
                connection = self._connections.pop(number)
                self._compare_end(connection)
                connection.client.session.end()
            elif message["event"] == "open":
                self._connect(number)
            return
        kind, content = message
        if frame["direction"] == "client->hub":
            self._say(self._connections[number], kind, content)
        elif kind == "response":
            self._compare_answer(self._connections[number], content)
        else:
            self._compare_news(self._connections[number], kind, content)

    def _connect(self, number: int) -> None:
        client = self.hub.connect()
        self._connections[number] = _Connection(client, _spoken(client))

    # What the client says

    def _say(self, connection: _Connection, kind: str, content: dict[str, Any]) -> None:
        content = dict(content)
        subject = content.get("subject") or content.get("command")
        if kind == "response":
            content["tag"] = connection.tags.get(content["tag"], content["tag"])
        elif subject == "hub/login":
            content["body"] = self._login(connection, content["body"])
        elif subject in {"hub/temp_pubkey", "hub/deliver"}:
            content["params"] = self._signed(content["params"], content["params"]["pubkey"])
        elif subject == "post_joint":
            content["params"] = self._composed(content["params"]["unit"])
        else:
            content = self._translated(content)
        connection.client.session.receive(json.dumps([kind, content]))

    def _login(self, connection: _Connection, body: dict[str, Any]) -> dict[str, Any]:
        challenge = connection.client.told("hub/challenge")[0]
        return self._signed(body | {"challenge": challenge}, body["pubkey"])

    def _signed(self, told: dict[str, Any], recorded_pubkey: str) -> dict[str, Any]:
        key = self._device(recorded_pubkey)
        unsigned = self._translated({key: value for key, value in told.items() if key != "signature"})
        return unsigned | {"signature": key.sign(device_digest(unsigned))}

    def _device(self, recorded_pubkey: str) -> KeyPair:
        """Return the key that stands for a recorded one, and learn its names."""
        if recorded_pubkey not in self._devices:
            key = KeyPair(bytes([100 + len(self._devices)]) * 32)
            self._devices[recorded_pubkey] = key
            self._names[recorded_pubkey] = key.pubkey_b64
            self._names[device_address(recorded_pubkey)] = device_address(key.pubkey_b64)
        return self._devices[recorded_pubkey]

    def _composed(self, unit: dict[str, Any]) -> dict[str, Any]:
        """Compose here what the recorded unit was for."""
        payments, messages = [], []
        for message in unit["messages"]:
            payload = self._translated(message["payload"])
            if message["app"] == "payment":
                payments += [
                    Output(output["address"], output["amount"])
                    for output in payload["outputs"]
                    if output["address"] != self.wallet.address
                ]
            elif message["app"] == "definition":
                messages.append(definition_message(payload["address"], payload["definition"]))
            else:
                messages.append(data_message(payload))
                if "confirm" in payload:
                    self.ledger.skip_agent_time(AGENT_TIMEOUT_S)  # the recording waited
        joint = self.wallet.compose(payments, messages, max_aa_responses=unit.get("max_aa_responses"))
        self._names[unit["unit"]] = joint["unit"]["unit"]
        return joint

    # What the hub says

    def _compare_answer(self, connection: _Connection, recorded: dict[str, Any]) -> None:
        tag = self._translated(recorded["tag"])
        for kind, content in connection.client.frames:
            if kind == "response" and content["tag"] == tag:
                connection.client.frames.remove([kind, content])
                if recorded["command"] == "light/get_history":
                    prove_history(
                        content["response"], [self.ledger.provider_address], self.ledger.network, now_s=self.now_s
                    )
                    self.histories += 1
                return self._compare(recorded["command"], recorded, content)
        self._differ(recorded["command"], "answered", "no answer")
        return None

    def _compare_news(self, connection: _Connection, kind: str, recorded: dict[str, Any]) -> None:
        name = recorded.get("subject") or recorded["command"]
        local = self._next_said(connection, name)
        if local is None:
            return self._differ(name, "said", "nothing")
        if kind == "request":
            connection.tags[recorded["tag"]] = local["tag"]
        return self._compare(name, recorded, local)

    def _compare_end(self, connection: _Connection) -> None:
        """Whatever the recorded hub had not said by then, the local one should not have said either."""
        for extra in iter(lambda: next(connection.said), None):
            self._differ(extra.get("subject") or extra["command"], "nothing", "said")

    def _next_said(self, connection: _Connection, name: str) -> dict[str, Any] | None:
        """Return what the hub says next, after making it if need be."""
        said = next(connection.said, None)
        if said is None and name == "heartbeat":
            connection.client.session.heartbeat()
            said = next(connection.said, None)
        if said is None and name == "joint":
            self.payer.pay(self.wallet.address, 2_000_000_000)
            said = next(connection.said, None)
        for _ in range(MAX_ADVANCES):
            if said is not None:
                break
            self.now_s += 1
            self.ledger.advance()
            said = next(connection.said, None)
        return said

    # Names

    def _learn_channels(self, told: list[dict[str, Any]]) -> None:
        """Find out the addresses of the channels to come: they are asked for before they are defined."""
        for frame in told:
            content = frame["message"][1] if isinstance(frame["message"], list) else {}
            if content.get("command") != "post_joint" or "params" not in content:
                continue
            for message in content["params"]["unit"]["messages"]:
                if message["app"] == "definition":
                    definition = message["payload"]["definition"]
                    peer = Actor(self.ledger, 10 + len(self._names))
                    self._names[definition[1]["params"]["addressA"]] = peer.address
                    self._names[message["payload"]["address"]] = definition_address(self._translated(definition))

    def _translated(self, value: Any) -> Any:
        if isinstance(value, dict):
            told = {self._translated(key): self._translated(item) for key, item in value.items()}
            if "witnesses" in told:
                told["witnesses"] = [self.ledger.provider_address]
            if "min_mci" in told:
                told["min_mci"] = min([ours for theirs, ours in self._mcis if theirs >= value["min_mci"]], default=0)
            return told
        if isinstance(value, list):
            return [self._translated(item) for item in value]
        return self._names.get(value, value) if isinstance(value, str) else value

    def _learn(self, recorded: dict[str, Any], local: dict[str, Any]) -> None:
        """Remember that two units, or two messages, stand for each other."""
        for name in ("unit", "message_hash", "temp_pubkey"):
            if isinstance(recorded.get(name), str) and isinstance(local.get(name), str):
                self._names.setdefault(recorded[name], local[name])
        mcis = recorded.get("main_chain_index"), local.get("main_chain_index")
        if isinstance(mcis[0], int) and isinstance(mcis[1], int):
            self._mcis.append((mcis[0], mcis[1]))

    # Shapes

    def _compare(self, place: str, recorded: Any, local: Any) -> None:
        if _NOT_COMPARED.search(place):
            return
        if isinstance(recorded, dict) and isinstance(local, dict):
            if not _NO_COUNTERPARTS.search(place):
                self._learn(recorded, local)
            theirs = {_shape_of_text(key): value for key, value in recorded.items()}
            ours = {_shape_of_text(key): value for key, value in local.items()}
            for key in theirs.keys() | ours.keys():
                if key not in ours or key not in theirs:
                    self._differ(f"{place}.{key}", *("there" if key in side else "absent" for side in (theirs, ours)))
                else:
                    self._compare(f"{place}.{key}", theirs[key], ours[key])
        elif isinstance(recorded, list) and isinstance(local, list):
            self._compare_lists(place, recorded, local)
        elif _shape(recorded) != _shape(local):
            text = self._translated(recorded) if isinstance(recorded, str) else None
            if text is None or _words(str(text)) != _words(str(local)):
                self._differ(place, _shape(recorded), _shape(local))

    def _compare_lists(self, place: str, recorded: list[Any], local: list[Any]) -> None:
        if place.rpartition(".")[2] in _COUNTED and len(recorded) != len(local):
            return self._differ(place, f"{len(recorded)} of them", f"{len(local)} of them")
        if bool(recorded) != bool(local):
            self._differ(place, "empty" if local else "some", "some" if local else "empty")
        for theirs, ours in zip(recorded, local, strict=False):
            self._compare(f"{place}[]", theirs, ours)
        return None

    def _differ(self, place: str, recorded: str, local: str) -> None:
        self.differences.append(Difference(*self._place, place, recorded, local))


def frames(name: str) -> list[dict[str, Any]]:
    """Read one file."""
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def _spoken(client: Client) -> Iterator[Any]:
    """Yield what the hub says by itself; ends, for now, where nothing more was said."""
    seen = 0
    while True:
        said = [content for kind, content in client.frames if kind != "response"]
        if seen < len(said):
            seen += 1
            yield said[seen - 1]
        else:
            yield None


def _shape(value: Any) -> str:
    if isinstance(value, str):
        return _shape_of_text(value)
    if isinstance(value, bool) or value is None:
        return str(value)
    return type(value).__name__


def _shape_of_text(text: str) -> str:
    return next((f"<{kind}>" for kind, pattern in _IDENTIFIERS.items() if pattern.fullmatch(text)), text)


def _words(text: str) -> str:
    """Replace the identifiers in a text by their kind."""
    for kind, pattern in _IDENTIFIERS.items():
        text = re.sub(rf"(?<![\w+/]){pattern.pattern}(?![\w+/])", f"<{kind}>", text)
    return text
