"""The hub's wire protocol without I/O: text frames in, events and answer frames out (Obyte, network protocol).

One `HubProtocol` is one side of one WebSocket connection. The same class serves the light client (role "client") and
a hub (role "hub"). Every frame is a JSON array of a type and an object; what each side does with it:

    frame                                   client                              hub
    --------------------------------------  ----------------------------------  ----------------------------------
    over 6 MiB, not JSON, wrong shape       Ignored                             Ignored
    justsaying version, acceptable          PeerVersion                         PeerVersion
    justsaying version, wrong               Fatal                               Reply error|upgrade_required, Fatal
    justsaying upgrade_required             Fatal                               Ignored
    justsaying anything else                Justsaying                          Justsaying
    request heartbeat                       Reply without response              Reply without response
    request subscribe                       Reply "I'm light, cannot…"          Request
    request anything else                   Ignored                             Request
    request, tag still being answered       Ignored                             Ignored
    request, too many being answered        Reply error                         Reply error
    response to a pending tag               Response                            Response
    response to one of our heartbeats       nothing ("sleep": stop heartbeats)  the same
    response to any other tag               Ignored                             Ignored

After `Fatal` the owner closes the connection; `close()` gives up what is still pending. Nothing here raises because
of what the peer sent.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Literal, TypeAlias

from shared.obyte.errors import HubError, ObyteError
from shared.obyte.serialization import JsonValue, parse_js_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.obyte.networks import Network

MAX_FRAME_BYTES = 6 * 1024 * 1024
MAX_TAG_LENGTH = 44
MAX_PENDING_REQUESTS = 1_000
HEARTBEAT_IDLE_S = 10.0
HEARTBEAT_ANSWER_S = 60.0
LIBRARY = "ocore"
LIBRARY_VERSION = "0.4.6"
OLDEST_LIBRARY_VERSION = (0, 4, 0)
LIGHT_REFUSES_SUBSCRIBE = "I'm light, cannot subscribe you to updates"

Role: TypeAlias = Literal["client", "hub"]

_RELEASE = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})")


class HubProtocolError(HubError):
    """We asked for something the wire cannot carry; codes: request_limit, bad_tag, frame_too_large, closed."""


@dataclass(frozen=True, slots=True)
class Justsaying:
    """A one-way message; `body` is None when absent."""

    subject: str
    body: JsonValue = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the peer, to be answered once with `respond` or `respond_error`; `params` is None when absent."""

    command: str
    params: JsonValue = field(repr=False)
    tag: str


@dataclass(frozen=True, slots=True)
class Response:
    """The peer's answer to our request `tag`. When `error` is set the peer refused, and `value` means nothing."""

    tag: str
    value: JsonValue = field(default=None, repr=False)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PeerVersion:
    """The peer introduced itself and speaks our network's protocol."""

    protocol_version: str
    library: str
    library_version: str
    program: str | None
    program_version: str | None


@dataclass(frozen=True, slots=True)
class Reply:
    """A frame the protocol itself owes the peer: send it as it is."""

    frame: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fatal:
    """The two sides cannot talk: close the connection. Codes: wrong_network, bad_version, upgrade_required."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A frame that changes nothing; `reason` is a stable word for counters and debug logs."""

    reason: str


Event: TypeAlias = Justsaying | Request | Response | PeerVersion | Reply | Fatal | Ignored


class HubProtocol:
    """One side of one hub connection.

    `network` gives `alt` and the accepted protocol versions. `program`/`program_version` introduce us. `tag_factory`
    makes request tags, unique among pending ones and at most 44 characters; by default a counter.
    """

    def __init__(
        self,
        role: Role,
        network: Network,
        *,
        program: str = "sluice",
        program_version: str = "0.1.0",
        max_pending: int = MAX_PENDING_REQUESTS,
        tag_factory: Callable[[], str] | None = None,
    ) -> None:
        self.role = role
        self._network = network
        self._program = program
        self._program_version = program_version
        self._max_pending = max_pending
        counter = count(1)
        self._tag_factory = tag_factory or (lambda: str(next(counter)))
        self._pending: dict[str, str] = {}
        self._answering: set[str] = set()
        self._closed = False
        self.peer_version: PeerVersion | None = None
        self.peer_wants_heartbeats = True

    @property
    def pending_tags(self) -> tuple[str, ...]:
        """Tags of our requests that have no answer yet, oldest first."""
        return tuple(self._pending)

    def version(self) -> str:
        """Frame that introduces us; both sides send it first, without waiting for the other."""
        return self.justsaying(
            "version",
            {
                "protocol_version": self._network.version,
                "alt": self._network.alt,
                "library": LIBRARY,
                "library_version": LIBRARY_VERSION,
                "program": self._program,
                "program_version": self._program_version,
            },
        )

    def justsaying(self, subject: str, body: JsonValue = None) -> str:
        """Frame of a one-way message; no `body` key when there is nothing to say."""
        return self._frame("justsaying", {"subject": subject} if body is None else {"subject": subject, "body": body})

    def request(self, command: str, params: JsonValue = None) -> tuple[str, str]:
        """Register a request: (tag, frame). HubProtocolError `request_limit` when too many are pending."""
        if len(self._pending) >= self._max_pending:
            raise HubProtocolError("request_limit", f"more than {self._max_pending} requests are pending")
        tag = self._tag_factory()
        if not 0 < len(tag) <= MAX_TAG_LENGTH or tag in self._pending:
            raise HubProtocolError("bad_tag", f"a tag must be new and have 1 to {MAX_TAG_LENGTH} characters")
        content: dict[str, JsonValue] = {"command": command}
        if params is not None:
            content["params"] = params
        content["tag"] = tag
        frame = self._frame("request", content)
        self._pending[tag] = command
        return tag, frame

    def heartbeat(self) -> str | None:
        """Frame asking whether the peer is alive; None while one is unanswered or the peer asked us to stop."""
        if not self.peer_wants_heartbeats or "heartbeat" in self._pending.values():
            return None
        return self.request("heartbeat")[1]

    def give_up(self, tag: str) -> None:
        """Forget a request; its late answer will be ignored."""
        self._pending.pop(tag, None)

    def respond(self, tag: str, command: str, response: JsonValue = None) -> str:
        """Frame answering a `Request`; no `response` key when there is no result."""
        self._answering.discard(tag)
        content: dict[str, JsonValue] = {"tag": tag, "command": command}
        if response is not None:
            content["response"] = response
        return self._frame("response", content)

    def respond_error(self, tag: str, command: str, text: str) -> str:
        """Frame refusing a `Request`."""
        return self.respond(tag, command, {"error": text})

    def close(self) -> tuple[str, ...]:
        """End of the connection: the tags that will never be answered. Frames can no longer be made or read."""
        tags = self.pending_tags
        self._pending.clear()
        self._answering.clear()
        self._closed = True
        return tags

    def receive(self, text: str) -> list[Event]:
        """Events of one received text frame, in order; `Reply` frames are to be sent, everything else is news."""
        frame = Ignored("closed") if self._closed else _parse_frame(text)
        if isinstance(frame, Ignored):
            return [frame]
        kind, content = frame
        match kind, content.get("subject"), content.get("command"), content.get("tag"):
            case "justsaying", str(subject), _, _:
                return self._receive_justsaying(subject, content.get("body"))
            case "request", _, str(command), str(tag) if 0 < len(tag) <= MAX_TAG_LENGTH:
                return self._receive_request(command, tag, content.get("params"))
            case "response", _, _, str(tag):
                return self._receive_response(tag, content.get("response"))
            case _:
                return [Ignored("bad_content")]

    def _receive_justsaying(self, subject: str, body: JsonValue) -> list[Event]:
        if subject == "version":
            return self._receive_version(body)
        if subject == "upgrade_required":
            if self.role == "hub":
                return [Ignored("unexpected_subject")]
            return [Fatal("upgrade_required", "the hub requires a newer protocol library than we speak")]
        return [Justsaying(subject, body)]

    def _receive_version(self, body: JsonValue) -> list[Event]:
        verdict = _read_version(body, self._network, oldest=OLDEST_LIBRARY_VERSION if self.role == "hub" else None)
        if isinstance(verdict, PeerVersion):
            self.peer_version = verdict
            return [verdict]
        if self.role == "client":
            return [verdict]
        if verdict.code == "upgrade_required":
            return [Reply(self.justsaying("upgrade_required")), verdict]
        return [Reply(self.justsaying("error", verdict.text)), verdict]

    def _receive_request(self, command: str, tag: str, params: JsonValue) -> list[Event]:
        if command == "heartbeat":
            return [Reply(self.respond(tag, command))]
        if self.role == "client":
            if command == "subscribe":
                return [Reply(self.respond_error(tag, command, LIGHT_REFUSES_SUBSCRIBE))]
            return [Ignored("unexpected_request")]
        if tag in self._answering:
            return [Ignored("repeated_request")]
        if len(self._answering) >= self._max_pending:
            return [Reply(self._frame("response", {"tag": tag, "command": command, "response": {"error": "too busy"}}))]
        self._answering.add(tag)
        return [Request(command, params, tag)]

    def _receive_response(self, tag: str, value: JsonValue) -> list[Event]:
        command = self._pending.pop(tag, None)
        if command is None:
            return [Ignored("unknown_tag")]
        if command == "heartbeat":
            if value == "sleep":
                self.peer_wants_heartbeats = False
            return []
        error = error_text(value)
        return [Response(tag, None if error else value, error)]

    def _frame(self, kind: str, content: dict[str, JsonValue]) -> str:
        if self._closed:
            raise HubProtocolError("closed", "the connection is closed")
        # ASCII escapes keep lone surrogates representable; the peer reads the same text.
        frame = json.dumps([kind, content], separators=(",", ":"), allow_nan=False)
        if len(frame) > MAX_FRAME_BYTES:
            raise HubProtocolError("frame_too_large", f"a frame may have at most {MAX_FRAME_BYTES} bytes")
        return frame


class Liveness:
    """When to ask a silent peer whether it is alive, and when to give it up. Times are monotonic seconds.

    After 10 s without any frame a heartbeat is due; 60 s after an unanswered one the connection is dead.
    """

    def __init__(self, now_s: float) -> None:
        self._heard_s = now_s
        self._asked_s: float | None = None

    def heard(self, now_s: float) -> None:
        """Any frame arrived."""
        self._heard_s = now_s
        self._asked_s = None

    def check(self, now_s: float) -> Literal["alive", "ask", "dead"]:
        """Tell what to do now; after "ask" the caller has sent a heartbeat."""
        if self._asked_s is not None:
            return "dead" if now_s - self._asked_s >= HEARTBEAT_ANSWER_S else "alive"
        if now_s - self._heard_s < HEARTBEAT_IDLE_S:
            return "alive"
        self._asked_s = now_s
        return "ask"


def error_text(response: JsonValue) -> str | None:
    """Text of an error answer `{"error": …}` (a string, or any JSON shown as text), or None when it is a result."""
    if not isinstance(response, dict) or not response.get("error"):
        return None
    error = response["error"]
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        error = error["message"]
    return error if isinstance(error, str) else json.dumps(error)


def _parse_frame(text: str) -> tuple[str, dict[str, JsonValue]] | Ignored:
    # A character takes at least one byte, so the cheap test comes first.
    if len(text) > MAX_FRAME_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_FRAME_BYTES:
        return Ignored("frame_too_large")
    try:
        frame = parse_js_json(text)
    except ObyteError:
        return Ignored("not_json")
    match frame:
        case [str(kind), dict(content)]:
            return kind, content
        case _:
            return Ignored("bad_shape")


def _read_version(body: JsonValue, network: Network, *, oldest: tuple[int, int, int] | None) -> PeerVersion | Fatal:
    if not isinstance(body, dict):
        return Fatal("bad_version", "version must be an object")
    texts: dict[str, str] = {}
    for name in ("protocol_version", "alt", "library", "library_version"):
        value = body.get(name)
        if not isinstance(value, str):
            return Fatal("bad_version", f"version: {name} must be a string")
        texts[name] = value
    release = _RELEASE.match(texts["library_version"])
    if oldest is not None and (release is None or tuple(map(int, release.groups())) < oldest):
        return Fatal("upgrade_required", "version: library_version is too old")
    if texts["protocol_version"] not in network.versions:
        return Fatal("bad_version", f"version: protocol_version is not one of {', '.join(sorted(network.versions))}")
    if texts["alt"] != network.alt:
        return Fatal("wrong_network", f"version: alt is not {network.alt}, the peer is on another network")
    program, program_version = body.get("program"), body.get("program_version")
    return PeerVersion(
        texts["protocol_version"],
        texts["library"],
        texts["library_version"],
        program if isinstance(program, str) else None,
        program_version if isinstance(program_version, str) else None,
    )
