"""One client's connection to the local hub, without I/O: frames in, frames out (Obyte, hub protocol)."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from devnet.commands import COMMANDS
from devnet.private_commands import PRIVATE_COMMANDS
from devnet.queries import HISTORY_TOO_LARGE
from devnet.request_fields import QueryError
from devnet.state import RejectedError
from shared.obyte.addresses import device_address
from shared.obyte.chash import is_valid_address
from shared.obyte.errors import ObyteError
from shared.obyte.hashing import device_digest
from shared.obyte.hub_protocol import (
    LIBRARY_VERSION,
    Fatal,
    HubProtocol,
    HubProtocolError,
    Justsaying,
    Reply,
    Request,
)
from shared.obyte.signatures import verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from devnet.faults import Faults
    from devnet.ledger import Ledger
    from devnet.watching import Watches
    from shared.obyte.serialization import JsonValue

PROGRAM = "sluice-devnet"
PROGRAM_VERSION = "0.1.0"
_RANDOM_BYTES = 30
_TEMP_KEY_FIELDS = {"temp_pubkey", "pubkey", "signature"}


class NoAnswer(Exception):  # noqa: N818 (not an error: hubs are silent about what they do not know)
    """The request gets no answer."""


@dataclass(slots=True)
class Devices:
    """Devices that have logged in, and the temporary keys they left for their correspondents."""

    known: set[str] = field(default_factory=set)
    temporary_keys: dict[str, JsonValue] = field(default_factory=dict)


class Session:
    """The hub's side of one connection.

    `send(frame, delay_s)` queues a frame, `close()` ends the connection after what is queued, `cut()` at once. They are
    called while a frame is received or while the ledger moves.
    """

    def __init__(
        self,
        ledger: Ledger,
        watches: Watches,
        devices: Devices,
        faults: Faults,
        *,
        send: Callable[[str, float], None],
        close: Callable[[], None],
        cut: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._watches = watches
        self._devices = devices
        self._faults = faults
        self._send = send
        self._close = close
        self._cut = cut
        self._protocol = HubProtocol("hub", ledger.network, program=PROGRAM, program_version=PROGRAM_VERSION)
        self._challenge = _random_text()
        self._device: str | None = None
        self._knows_system_vars = False

    def open(self) -> None:
        """Say what a hub says first."""
        self._send(self._protocol.version(), 0)
        self.justsaying("hub/challenge", self._challenge)
        hello: dict[str, JsonValue] = {
            "subscription_id": _random_text(),
            "last_mci": len(self._ledger.state.dag.main_chain) - 1,
            "library_version": LIBRARY_VERSION,
        }
        self._send(self._protocol.request("subscribe", hello)[1], 0)

    def end(self) -> None:
        """Forget the client; its watches end with the connection."""
        self._watches.forget(self)
        self._protocol.close()

    def justsaying(self, subject: str, body: JsonValue = None) -> None:
        """Tell the client something that has no answer."""
        self._send(self._protocol.justsaying(subject, body), 0)

    def heartbeat(self) -> None:
        """Ask a silent client whether it is alive."""
        frame = self._protocol.heartbeat()
        if frame is not None:
            self._send(frame, 0)

    def receive(self, text: str) -> None:
        """Handle one frame."""
        for event in self._protocol.receive(text):
            match event:
                case Reply(frame):
                    self._send(frame, 0)
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
            answer = answer if fault.denial is None else {"error": fault.denial}
            self._send(self._response(request, answer), fault.delay_s)

    def _response(self, request: Request, answer: JsonValue) -> str:
        try:
            return self._protocol.respond(request.tag, request.command, answer)
        except HubProtocolError:
            return self._protocol.respond_error(request.tag, request.command, HISTORY_TOO_LARGE)

    def _answer(self, command: str, params: Any) -> JsonValue:
        if command in COMMANDS:
            if command == "light/get_history":
                self._tell_system_vars_once()
            answer = COMMANDS[command](self._ledger, params)
            if command == "light/get_history":
                self._watch_what_was_asked(params)
            return answer
        if command == "post_joint":
            return self._post(params)
        if command in PRIVATE_COMMANDS:
            return PRIVATE_COMMANDS[command](self._ledger, params)
        if command == "hub/temp_pubkey":
            return self._keep_temporary_key(params)
        if command == "hub/get_temp_pubkey":
            return self._temporary_key(params)
        if command == "get_peers":
            return []
        raise NoAnswer

    def _post(self, joint: Any) -> JsonValue:
        if isinstance(joint, dict) and "ball" in joint:
            raise QueryError("no ball via post_joint")
        self._ledger.post(joint, source=self)
        return "accepted"

    def _tell_system_vars_once(self) -> None:
        if not self._knows_system_vars:
            self._knows_system_vars = True
            self.justsaying("system_vars", self._ledger.state.system_vars.as_json())

    def _watch_what_was_asked(self, params: dict[str, Any]) -> None:
        for address in params.get("addresses") or ():
            self._watches.watch_address(self, address)
        records, oldest = self._ledger.state.dag.records, self._ledger.state.min_retrievable_mci()
        for unit in params.get("requested_joints") or ():
            record = records.get(unit)
            if record is not None and (record.mci is None or record.mci >= oldest):
                self._watches.watch_unit(self, unit)

    def _hear(self, subject: str, body: Any) -> None:
        if subject == "light/new_address_to_watch":
            self._watch_address(body)
        elif subject == "light/new_aa_to_watch":
            self._watch_agent(body)
        elif subject == "hub/login":
            self._log_in(body)
        elif subject == "hub/refresh":
            self._tell_of_empty_box()
        elif subject == "hub/repeat_challenge":
            self.justsaying("hub/challenge", self._challenge)
        elif subject == "watch_system_vars":
            self.justsaying("system_vars", self._ledger.state.system_vars.as_json())

    def _watch_address(self, address: Any) -> None:
        if not is_valid_address(address):
            self.justsaying("error", "address not valid")
            return
        self._watches.watch_address(self, address)
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
            self._watches.watch_agent(self, agent, address)
            self.justsaying("info", f"now watching AA {agent} address {address or 'all'}")

    def _log_in(self, body: Any) -> None:
        told = body if isinstance(body, dict) else {}
        if told.get("challenge") != self._challenge:
            self.justsaying("error", "wrong challenge")
            return
        if not _is_signed_by(told, told.get("pubkey")):
            self.justsaying("error", "wrong signature")
            return
        self._device = device_address(str(told["pubkey"]))
        self.justsaying("system_vars", self._ledger.state.system_vars.as_json())
        self.justsaying("hub/push_project_number", {"projectNumber": 0, "hasKeyId": False})
        if self._device in self._devices.known:
            self._tell_of_empty_box()
        else:
            self._devices.known.add(self._device)
            self.justsaying("info", "address created")

    def _tell_of_empty_box(self) -> None:
        self.justsaying("info", "0 messages sent")
        self.justsaying("hub/message_box_status", "empty")

    def _keep_temporary_key(self, params: Any) -> JsonValue:
        if self._device is None:
            raise QueryError("please log in first")
        if not isinstance(params, dict) or params.keys() != _TEMP_KEY_FIELDS:
            raise QueryError("no temp_pubkey params")
        if not _is_signed_by(params, params["pubkey"]):
            raise QueryError("wrong signature")
        if device_address(str(params["pubkey"])) != self._device:
            raise QueryError("signed by another pubkey")
        self._devices.temporary_keys[self._device] = params
        return "updated"

    def _temporary_key(self, params: Any) -> JsonValue:
        device = device_address(params) if isinstance(params, str) else ""
        if device not in self._devices.known:
            raise QueryError("device with this pubkey is not registered here")
        if device not in self._devices.temporary_keys:
            raise QueryError("temp pub key not set yet")
        return self._devices.temporary_keys[device]


def _is_signed_by(message: dict[str, Any], pubkey: object) -> bool:
    try:
        return verify(device_digest(message), message.get("signature"), pubkey)
    except ObyteError:
        return False


def _random_text() -> str:
    return base64.b64encode(secrets.token_bytes(_RANDOM_BYTES)).decode()
