"""What a unit's messages may say: payments, and the few other kinds that this ledger knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devnet.agent import BASE, ChannelParams
from devnet.payments import PaymentCheck, Surroundings
from devnet.state import RejectedError
from shared.obyte.addresses import definition_address
from shared.obyte.agents import CHANNELS_BASE_AA
from shared.obyte.chash import is_valid_address, is_valid_base64
from shared.obyte.errors import ObyteError
from shared.obyte.units import HASH_CHARACTERS, MAX_AMOUNT

if TYPE_CHECKING:
    from collections.abc import Callable

    from devnet.dag import Sequence

MAX_FEED_CHARACTERS = 64
_VERSIONS = {address: version for version, address in CHANNELS_BASE_AA.items()}
_MESSAGE_FIELDS = frozenset({"app", "payload_hash", "payload_location", "payload"})
_ONCE = frozenset({"asset", "data_feed", "profile"})
_PLAIN_ASSET = {
    "is_private": False,
    "is_transferrable": True,
    "auto_destroy": False,
    "fixed_denominations": False,
    "issued_by_definer_only": True,
    "cosigned_by_definer": False,
    "spender_attested": False,
}


def check_messages(around: Surroundings) -> Sequence:
    """Check every message and return the worst sequence among the coins spent. Raises RejectedError."""
    payments = PaymentCheck(around)
    seen: set[str] = set()
    for message in around.unit["messages"]:
        app = message["app"]
        if not message.keys() <= _MESSAGE_FIELDS or message["payload_location"] != "inline":
            raise RejectedError("this ledger takes only messages with inline payload and nothing else")
        if app in _ONCE and app in seen:
            raise RejectedError(f"can be only one {app}")
        seen.add(app)
        if app == "payment":
            payments.check(message["payload"])
        elif app == "definition":
            _check_definition(message["payload"], around)
        elif app in _CHECKS:
            _CHECKS[app](message["payload"])
        else:
            raise RejectedError(f"unknown app on this ledger: {app}")
    if not payments.has_base_payment:
        raise RejectedError("no base payment message")
    return payments.sequence


def read_agent_definition(payload: Any) -> ChannelParams:
    """Read a published agent: a channel, or a channels agent itself.

    Raises RejectedError: other agents cannot be run here.
    """
    if not isinstance(payload, dict) or payload.keys() != {"address", "definition"}:
        raise RejectedError("a definition has an address and a definition, nothing else")
    definition = payload["definition"]
    try:
        address = definition_address(definition)
    except ObyteError:
        raise RejectedError("bad definition") from None
    if payload["address"] != address:
        raise RejectedError("definition doesn't match the chash")
    if address in _VERSIONS:
        return ChannelParams.of_base_agent(address, _VERSIONS[address])
    if not (
        isinstance(definition, list)
        and definition[0] == "autonomous agent"
        and isinstance(definition[1], dict)
        and definition[1].keys() == {"base_aa", "params"}
        and definition[1]["base_aa"] in _VERSIONS
    ):
        raise RejectedError("this ledger runs the channels agents only: base AA not found")
    return _read_channel_params(address, definition[1]["params"], _VERSIONS[definition[1]["base_aa"]])


def _read_channel_params(address: str, params: Any, version: str) -> ChannelParams:
    if not isinstance(params, dict) or params.keys() - {"salt"} != {"addressA", "addressB", "asset", "timeout"}:
        raise RejectedError("this ledger knows channels with addressA, addressB, asset, timeout and salt only")
    asset, timeout_s = params["asset"], params["timeout"]
    if not is_valid_address(params["addressA"]) or not is_valid_address(params["addressB"]):
        raise RejectedError("addressA and addressB of a channel must be valid addresses")
    if asset != BASE and not is_valid_base64(asset, HASH_CHARACTERS):
        raise RejectedError("asset of a channel must be base or a unit hash")
    if type(timeout_s) is not int:
        raise RejectedError("timeout of a channel must be an integer")
    return ChannelParams(address, params["addressA"], params["addressB"], asset, timeout_s, version)


def _check_asset(payload: Any) -> None:
    if not isinstance(payload, dict) or {key: payload.get(key) for key in _PLAIN_ASSET} != _PLAIN_ASSET:
        raise RejectedError("this ledger knows capped, public, transferable assets issued by their definer only")
    cap = payload.get("cap")
    if payload.keys() != {"cap", *_PLAIN_ASSET} or type(cap) is not int or not 1 <= cap <= MAX_AMOUNT:
        raise RejectedError("invalid cap")


def _check_data_feed(payload: Any) -> None:
    if not isinstance(payload, dict):
        raise RejectedError("data feed payload must be non-empty object")
    for name, value in payload.items():
        if len(name) > MAX_FEED_CHARACTERS or "\n" in name:
            raise RejectedError(f"feed name {name} too long or with a line break")
        if isinstance(value, str):
            if len(value) > MAX_FEED_CHARACTERS or "\n" in value:
                raise RejectedError("data feed value too long or with a line break")
        elif type(value) is not int:
            raise RejectedError(f"data feed {name} must be string or integer")


def _check_data(payload: Any) -> None:
    if not isinstance(payload, dict | list):
        raise RejectedError("data payload must be object")


def _check_text(payload: Any) -> None:
    if not isinstance(payload, str):
        raise RejectedError("payload must be string")


def _check_definition(payload: Any, around: Surroundings) -> None:
    params = read_agent_definition(payload)
    if params.is_base_agent:
        return
    base = around.state.agents.get(CHANNELS_BASE_AA[params.version])
    if base is None or base.defined_mci > around.last_ball_mci:
        raise RejectedError("base AA not found")


_CHECKS: dict[str, Callable[[Any], None]] = {
    "asset": _check_asset,
    "data": _check_data,
    "data_feed": _check_data_feed,
    "profile": _check_data,
    "text": _check_text,
}
