"""One client's connection to the local hub, without I/O: frames in, frames out (Obyte, hub protocol)."""

from __future__ import annotations

import base64
import copy
import secrets
from typing import TYPE_CHECKING, Any

from devnet.commands import COMMANDS
from devnet.private_commands import PRIVATE_COMMANDS
from devnet.queries import HISTORY_TOO_LARGE, get_history
from devnet.request_fields import QueryError
from devnet.state import RejectedError
from shared.obyte.chash import is_valid_address
from shared.obyte.errors import ObyteError
from shared.obyte.hub_protocol import (
    LIBRARY_VERSION,
    Fatal,
    HubProtocol,
    HubProtocolError,
    Justsaying,
    Reply,
    Request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from devnet.faults import Fault
    from devnet.hub import Hub
    from shared.obyte.serialization import JsonValue

PROGRAM = "sluice-devnet"
PROGRAM_VERSION = "0.1.0"
PROVIDER_NAME = "The local ledger's order provider"
HEARTBEAT = '"command":"heartbeat"'
_RANDOM_BYTES = 30


class NoAnswer(Exception):  # noqa: N818 (not an error: hubs are silent about what they do not know)
    """The request gets no answer."""


class Session:
    """The hub's side of one connection.

    `send(frame, delay_s)` queues a frame, `close()` ends the connection after what is queued, `cut()` at once. They are
    called while a frame is received or while the ledger moves. `is_local` says that the client is on this machine.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        send: Callable[[str | bytes, float], None],
        close: Callable[[], None],
        cut: Callable[[], None],
        is_local: bool,
    ) -> None:
        self._hub = hub
        self._ledger = hub.ledger
        self._faults = hub.faults
        self._deliver = send
        self._close = close
        self._cut = cut
        self._is_local = is_local
        self._protocol = HubProtocol("hub", hub.ledger.network, program=PROGRAM, program_version=PROGRAM_VERSION)
        self._own_commands: dict[str, Callable[[Any], JsonValue]] = {
            "post_joint": self._post,
            "get_peers": lambda _: [],
            "hub/temp_pubkey": lambda params: hub.relay.keep_temporary_key(self, params),
            "hub/get_temp_pubkey": hub.relay.temporary_key,
            "hub/deliver": hub.relay.deliver,
        }
        self._challenge = _random_text()
        self._knows_system_vars = False
        self._watches_system_vars = False
        hub.enter(self)

    def open(self) -> None:
        """Say what a hub says first."""
        self._send(self._protocol.version())
        self.justsaying("hub/challenge", self._challenge)
        hello: dict[str, JsonValue] = {
            "subscription_id": _random_text(),
            "last_mci": len(self._ledger.state.dag.main_chain) - 1,
            "library_version": LIBRARY_VERSION,
        }
        self._send(self._protocol.request("subscribe", hello)[1])
        for frame in self._faults.greeting:
            self._send(frame)

    def end(self) -> None:
        """Forget the client; its watches end with the connection."""
        self._hub.leave(self)
        self._protocol.close()

    def cut(self) -> None:
        """End the connection at once."""
        self._cut()

    def justsaying(self, subject: str, body: JsonValue = None) -> None:
        """Tell the client something that has no answer."""
        if subject not in self._faults.muted:
            self._send(self._protocol.justsaying(subject, body))

    def send_raw(self, frame: str | bytes) -> None:
        """Send a frame as it is."""
        self._send(frame)

    def repeat_system_vars(self) -> None:
        """Tell a client that was told before that the system variables have changed."""
        if self._knows_system_vars or self._watches_system_vars:
            self._tell_system_vars()

    def heartbeat(self) -> None:
        """Ask a silent client whether it is alive."""
        frame = self._protocol.heartbeat()
        if frame is not None:
            self._send(frame)

    def receive(self, text: str) -> None:
        """Handle one frame."""
        for event in self._protocol.receive(text):
            match event:
                case Reply(frame):
                    if not (self._faults.ignores_heartbeats and HEARTBEAT in frame):
                        self._send(frame)
                case Fatal():
                    self._close()
                case Justsaying(subject, body):
                    self._hear(subject, body)
                case Request():
                    self._serve(event)
                case _:
                    pass  # the answer to our subscribe, the peer's version, noise: nothing to do

    def _serve(self, request: Request) -> None:
        refusal = self._faults.refusal(request.command)
        try:
            answer = self._answer(request.command, request.params) if refusal is None else {"error": refusal}
        except NoAnswer:
            return
        except (QueryError, RejectedError, ObyteError) as error:
            answer = {"error": error.text}
        fault = self._faults.after_serving(request.command)
        if fault.drops_connection:
            self._cut()
        elif not fault.loses_answer:
            self._send(self._response(request, _spoilt(answer, fault)), fault.delay_s)

    def _send(self, frame: str | bytes, delay_s: float = 0.0) -> None:
        if not self._faults.is_silent:
            self._deliver(frame, delay_s)

    def _response(self, request: Request, answer: JsonValue) -> str:
        try:
            frame = self._protocol.respond(request.tag, request.command, answer)
            # Where there is nothing hubs say null, which the protocol leaves out.
            return frame if answer is not None else f'{frame.removesuffix("}]")},"response":null}}]'
        except HubProtocolError:
            return self._protocol.respond_error(request.tag, request.command, HISTORY_TOO_LARGE)

    def _answer(self, command: str, params: Any) -> JsonValue:
        if command in COMMANDS:
            return self._read(command, params)
        if command in PRIVATE_COMMANDS:
            if not self._is_local:
                raise QueryError("private requests are answered on the ledger's own machine only")
            return PRIVATE_COMMANDS[command](self._hub, params)
        serve = self._own_commands.get(command)
        if serve is None:
            raise NoAnswer
        return serve(params)

    def _read(self, command: str, params: Any) -> JsonValue:
        if command == "light/get_history":
            self._tell_system_vars_once()
            answer = get_history(self._ledger, params, self._faults.knows_until_mci)
            self._watch_what_was_asked(params)
        else:
            answer = COMMANDS[command](self._ledger, params)
        return self._faults.distorted(command, answer)

    def _post(self, joint: Any) -> JsonValue:
        if isinstance(joint, dict) and "ball" in joint:
            raise QueryError("no ball via post_joint")
        self._ledger.post(joint, source=self, clock_offset_s=self._faults.clock_offset_s)
        return "accepted"

    def _tell_system_vars_once(self) -> None:
        if not self._knows_system_vars:
            self._knows_system_vars = True
            self._tell_system_vars()

    def _tell_system_vars(self) -> None:
        self.justsaying("system_vars", self._faults.claimed(self._ledger.state.votes.as_json()))

    def _watch_what_was_asked(self, params: dict[str, Any]) -> None:
        for address in params.get("addresses") or ():
            self._hub.watches.watch_address(self, address)
        records, oldest = self._ledger.state.dag.records, self._ledger.state.min_retrievable_mci()
        for unit in params.get("requested_joints") or ():
            record = records.get(unit)
            if record is not None and (record.mci is None or record.mci >= oldest):
                self._hub.watches.watch_unit(self, unit)

    def _hear(self, subject: str, body: Any) -> None:
        try:
            self._heed(subject, body)
        except QueryError as error:
            self.justsaying("error", error.text)

    def _heed(self, subject: str, body: Any) -> None:
        if subject == "light/new_address_to_watch":
            self._watch_address(body)
        elif subject == "light/new_aa_to_watch":
            self._watch_agent(body)
        elif subject == "hub/login" and body:
            self._log_in(body if isinstance(body, dict) else {})
        elif subject == "hub/refresh":
            self._hub.relay.send_stored(self)
        elif subject == "hub/delete":
            self._hub.relay.delete(self, body)
        elif subject == "hub/repeat_challenge":
            self.justsaying("hub/challenge", self._challenge)
        elif subject == "watch_system_vars":
            self._watches_system_vars = True
            self._tell_system_vars()

    def _watch_address(self, address: Any) -> None:
        if not is_valid_address(address):
            self.justsaying("error", "address not valid")
            return
        self._hub.watches.watch_address(self, address)
        self.justsaying("info", f"now watching {address}")

    def _watch_agent(self, body: Any) -> None:
        told: dict[str, Any] = body if isinstance(body, dict) else {}
        agent: Any = told.get("aa")
        address: Any = told.get("address") or ""
        state = self._ledger.state
        if not is_valid_address(agent) or (address and not is_valid_address(address)):
            self.justsaying("error", "invalid AA or address")
        elif not state.is_known_agent(agent):
            self.justsaying("error", f"not an AA: {agent}")
        else:
            self._hub.watches.watch_agent(self, agent, address)
            self.justsaying("info", f"now watching AA {agent} address {address or 'all'}")

    def _log_in(self, told: dict[str, Any]) -> None:
        is_new = self._hub.relay.log_in(self, self._challenge, told)
        self._tell_system_vars()
        self.justsaying("hub/push_project_number", {"projectNumber": 0, "hasKeyId": False})
        self.justsaying("known_witnesses", {self._ledger.provider_address: {"name": PROVIDER_NAME}})
        if is_new:
            self.justsaying("info", "address created")
        else:
            self._hub.relay.send_stored(self)


def _spoilt(answer: JsonValue, fault: Fault) -> JsonValue:
    if fault.denial is not None:
        return {"error": fault.denial}
    return answer if fault.lie is None else fault.lie(copy.deepcopy(answer))


def _random_text() -> str:
    return base64.b64encode(secrets.token_bytes(_RANDOM_BYTES)).decode()
