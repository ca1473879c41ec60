"""The methods: names, arguments and values of the reference library for Node.js, and `getCommand`, which is ours.

Checks come in the reference's order and with its texts. What it does not check is checked by the order's own model.
Where it would never answer (arguments missing, exceptions) there is an error here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from front.answering import plain
from front.doors.orders import MAX_MESSAGE_BYTES, opened, reader_of
from front.rpc import wording
from front.rpc.core import Method
from front.rpc.errors import INVALID_PARAMS, RpcError, failed
from front.rpc.shapes import is_there, plain_number
from front.schemas import command_view
from shared.channels.model import MIN_BASE_DEPOSIT
from shared.channels.paying import spendable
from shared.obyte.chash import is_valid_address
from shared.obyte.errors import ObyteError
from shared.obyte.pairing import parse_pairing_code
from shared.orders import MAX_SALT_CHARACTERS, AutoRefill, Close, Deposit, Open, Pay, Sign, Sweep
from shared.peers.errors import PeerError
from shared.peers.http import base_url_of
from shared.receiving.errors import ReceivingError, UnavailableError, database_errors
from shared.receiving.limits import origin_of_key
from shared.receiving.outcomes import Refusal
from shared.store import channels, commands, contacts, outgoing
from shared.store.api_keys import Scope

if TYPE_CHECKING:
    from front.rpc.core import Call
    from shared.store.channel_rows import StoredChannel
    from shared.store.database import Connection
    from shared.strict_json import JsonValue

_ASSET_CHARACTERS = 44
_LARGEST_ID = 2**63 - 1
_AMOUNT, _THRESHOLD = "auto_refill_amount", "auto_refill_threshold"
_NO_WAY = "no peer address nor way to contact peer"


async def create_new_channel(
    call: Call, peer: JsonValue, initial_amount: JsonValue, options: JsonValue = None
) -> list[Any]:
    """Open a channel and deposit `initial_amount`; the value is its address."""
    given = options if isinstance(options, dict) else {}
    wanted = {name: plain_number(value) for name, value in given.items() if is_there(value)}
    if not isinstance(peer, str) or not peer:
        raise _bad("peer must be string")
    if not _is_positive(initial_amount):
        raise _bad("amount must be positive integer")
    _check_terms(wanted, initial_amount)
    if _kind_of(peer) is None:
        raise _bad(_NO_WAY)
    params: dict[str, Any] = {"peer": peer, "initial_amount": initial_amount, "asset": wanted.get("asset", "base")}
    params |= {name: wanted[name] for name in ("timeout", "version") if name in wanted}
    if isinstance(wanted.get("salt"), str):  # a random one otherwise: without any, the reference could not be told
        params["salt"] = wanted["salt"]
    if _AMOUNT in wanted:
        params["auto_refill"] = {"amount": wanted[_AMOUNT], "threshold": wanted[_THRESHOLD]}
    return [(await call.order(Open, params))["aa_address"]]


def _check_terms(wanted: dict[str, Any], initial_amount: int) -> None:
    """Check the options, in the reference's order. Raises RpcError."""
    if not _is_positive(wanted.get("timeout", 1)):
        raise _bad("timeout must be a positive integer")
    is_base = wanted.get("asset", "base") == "base"
    if is_base and initial_amount < MIN_BASE_DEPOSIT:
        raise _bad("initial_amount must be > 1e4")
    for name in (_THRESHOLD, _AMOUNT):
        if not _is_positive(wanted.get(name, 1)):
            raise _bad(f"{name} must be positive integer")
    if is_base and wanted.get(_AMOUNT, MIN_BASE_DEPOSIT) < MIN_BASE_DEPOSIT:
        raise _bad("auto_refill_amount must be superior to 1e4")
    if (_AMOUNT in wanted) != (_THRESHOLD in wanted):
        raise _bad("auto_refill_amount and auto_refill_threshold must come together")
    salt = wanted.get("salt")
    if isinstance(salt, str) and len(salt) > MAX_SALT_CHARACTERS:
        raise _bad("Salt must be 50 char max")
    _check_asset(wanted.get("asset", "base"), "asset is not valid")


async def deposit(call: Call, aa_address: JsonValue, amount: JsonValue) -> list[Any]:
    """Add to our deposit; the value is the unit."""
    if not _is_positive(amount):
        raise _bad("amount must be positive integer")
    address = _address(aa_address, "deposit")
    with database_errors():
        async with call.rpc.database.connection() as conn:
            known = (await channels.find(conn, [address])).get(address)
    if known is not None and known.channel.asset == "base" and amount < MIN_BASE_DEPOSIT:
        raise _bad("amount must be > 1e4")
    return [(await call.order(Deposit, {"amount": amount}, address))["unit"]]


async def send_message_and_pay(call: Call, aa_address: JsonValue, message: JsonValue, amount: JsonValue) -> list[Any]:
    """Pay the peer and send him a message; the value is what he says."""
    if not _is_positive(amount):
        raise _bad("payment_amount must be a positive integer")
    if len(json.dumps(message, separators=(",", ":"))) > MAX_MESSAGE_BYTES:
        raise _bad(f"the message must not have more than {MAX_MESSAGE_BYTES} bytes of ASCII JSON")
    address = _address(aa_address, "pay")
    return [(await call.order(Pay, {"amount": amount, "message": message}, address))["response"]]


async def create_payment_package(call: Call, amount: JsonValue, aa_address: JsonValue) -> list[Any]:
    """Sign a package; the values are the package, and where and how the peer is reached (null: not known)."""
    if not _is_positive(amount):
        raise _bad("payment_amount must be a positive integer")
    address = _address(aa_address, "sign")
    params = {"amount": amount, "seal_to": reader_of(call.caller).public_key}
    result = await call.order(Sign, params, address)
    with database_errors():
        async with call.rpc.database.connection() as conn:
            contact = await contacts.of(conn, address)
            stored = (await channels.find(conn, [address])).get(address)
    device = None if contact is None else contact.device
    # A URL that only the peer has told is told to nobody: he could have us contact any address.
    url = contact.url if contact is not None and stored is not None and stored.role == "B" else None
    com_layer = "obyte-messenger" if device else "http" if url else None
    return [result["package"], device or url, com_layer]


async def verify_payment_package(call: Call, package: JsonValue) -> list[Any]:
    """Credit a package once; the values are amount, asset and the channel's address.

    The reference credits a package again as long as there is credit. Here a package that was credited before is
    refused as one without credit: `data` tells what it was credited as.
    """
    if not isinstance(package, dict):
        raise _bad("not an object")
    try:
        origin = origin_of_key(call.caller.key_id) if call.caller.needs_key else None
        outcome = await call.rpc.receiver.receive(package, origin=origin)
    except UnavailableError:
        raise
    except ReceivingError as error:
        raise failed(wording.REFUSALS.get(error.code, error.text), error.code, detail=error.text) from None
    if isinstance(outcome, Refusal):
        text = wording.REFUSALS.get(outcome.code, outcome.text)
        view = {} if outcome.channel is None else {"channel": outcome.channel.as_json()}
        raise failed(text, outcome.code, detail=outcome.text, **view)
    if outcome.duplicate:
        raise failed(wording.REFUSALS["over_credit"], "duplicate", **outcome.as_json())
    return [outcome.amount, outcome.asset, outcome.aa_address]


async def close(call: Call, aa_address: JsonValue) -> list[Any]:
    """Close the channel and end auto refill; no value."""
    await call.order(Close, {}, _address(aa_address, "close"))
    return []


async def sweep(call: Call, aa_address: JsonValue) -> list[Any]:
    """Close the period and leave auto refill as it is; no value."""
    await call.order(Sweep, {}, _address(aa_address, "sweep"))
    return []


async def set_auto_refill(call: Call, aa_address: JsonValue, amount: JsonValue, threshold: JsonValue) -> list[Any]:
    """Deposit `amount` whenever less than `threshold` is left; both 0 or null end that. No value."""
    address = _address(aa_address, "auto_refill")
    params: dict[str, Any] = {"off": True}
    if is_there(amount) or is_there(threshold):
        if not _is_positive(amount):
            raise _bad("auto_refill_amount must be positive integer")
        if not _is_positive(threshold):
            raise _bad("auto_refill_threshold must be positive integer")
        params = {"amount": amount, "threshold": threshold}
    await call.order(AutoRefill, params, address)
    return []


async def get_balances_and_status(call: Call, aa_address: JsonValue) -> list[Any]:
    """Return where a channel stands. Deposits on their way are told by themselves, and no part of the free amount."""
    address = _address(aa_address, "close")
    with database_errors():
        async with call.rpc.database.connection() as conn:
            known = (await channels.find(conn, [address])).get(address)
            on_their_way = await outgoing.deposits_on_their_way(conn, [address])
    if known is None:
        raise failed("aa_address not known", "unknown_channel")
    channel = known.channel
    return [
        {
            "status": channel.status.value,
            "amount_deposited_by_me": channel.deposited_by_me,
            "amount_deposited_by_peer": channel.deposited_by_peer,
            "amount_spent_by_me": channel.spent_by_me,
            "amount_spent_by_peer": channel.spent_by_peer,
            "free_amount": spendable(channel),
            "my_deposits": on_their_way.get(address, 0),
        }
    ]


async def get_channels_for_peer(call: Call, peer: JsonValue, asset: JsonValue = None) -> list[Any]:
    """Return the newest channels with a peer, by his pairing code, URL or payment address; the oldest of them first."""
    if not isinstance(peer, str) or not peer:
        raise _bad("peer must be a string")
    wanted = _check_asset(asset if is_there(asset) else "base", "invalid asset")
    kind = _kind_of(peer)
    if kind is None:
        raise _bad("peer should be a pairing address, an url or a peer address")
    with database_errors():
        async with call.rpc.database.connection() as conn:
            found = await _channels_with(conn, peer, kind, wanted)
    if not found:
        raise failed(f"no channel opened with this {kind} for this asset", "unknown_channel")
    return [[stored.channel.aa_address for stored in reversed(found)]]


async def get_command(call: Call, command_id: JsonValue) -> list[Any]:
    """Return what became of an order; to a key that may not read only its own. A package is shown to who had it signed.

    What a peer has answered to a payment may be what was bought.
    """
    own = None if Scope.READ in call.caller.scopes else call.caller.key_id
    is_id = isinstance(command_id, int) and not isinstance(command_id, bool) and 0 < command_id <= _LARGEST_ID
    with database_errors():
        async with call.rpc.database.connection() as conn:
            command = await commands.get(conn, cast("int", command_id), api_key_id=own) if is_id else None
    if command is None:
        raise failed("there is no command with this number", "unknown_command")
    return [opened(plain(command_view(command)), call.caller)]


_SPEND, _MANAGE, _READ = (Scope.SPEND,), (Scope.SPEND, Scope.ADMIN), (Scope.READ,)

METHODS = {
    "createNewChannel": Method(create_new_channel, ("peer", "initial_amount", "options"), _SPEND, optional=1),
    "deposit": Method(deposit, ("aa_address", "amount"), _SPEND),
    "sendMessageAndPay": Method(send_message_and_pay, ("aa_address", "message", "amount"), _SPEND),
    "createPaymentPackage": Method(create_payment_package, ("amount", "aa_address"), _SPEND),
    "verifyPaymentPackage": Method(verify_payment_package, ("package",), (Scope.RECEIVE,), takes_object=True),
    "close": Method(close, ("aa_address",), _MANAGE),
    "sweep": Method(sweep, ("aa_address",), _MANAGE),
    "setAutoRefill": Method(set_auto_refill, ("aa_address", "amount", "threshold"), _MANAGE),
    "getBalancesAndStatus": Method(get_balances_and_status, ("aa_address",), _READ),
    "getChannelsForPeer": Method(get_channels_for_peer, ("peer", "asset"), _READ, optional=1),
    "getCommand": Method(get_command, ("id",), (Scope.READ, Scope.SPEND)),
}


def _is_positive(value: JsonValue) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check_asset(asset: JsonValue, text: str) -> str:
    if not isinstance(asset, str) or (asset != "base" and len(asset) != _ASSET_CHARACTERS):
        raise _bad(text)
    return asset


def _address(value: JsonValue, kind: str) -> str:
    """Return the address of a channel; what is none is a channel that we do not have."""
    if not isinstance(value, str) or not is_valid_address(value):
        raise failed(wording.UNKNOWN_CHANNEL[kind], "unknown_channel")
    return value


def _kind_of(peer: str) -> str | None:
    """Return what a peer is named by, in the reference's words; None for what names nobody."""
    if is_valid_address(peer):
        return "peer address"
    try:
        parse_pairing_code(peer)
    except ObyteError:
        pass
    else:
        return "pairing code"
    try:
        base_url_of(peer)
    except PeerError:
        return None
    return "peer url"


async def _channels_with(conn: Connection, peer: str, kind: str, asset: str) -> list[StoredChannel]:
    limit = channels.MAX_PAGE
    if kind == "peer address":
        return await channels.page(conn, limit=limit, asset=asset, peer_address=peer)
    if kind == "peer url":
        return await channels.page(conn, limit=limit, asset=asset, opened_at_url=base_url_of(peer))
    device = parse_pairing_code(peer).device_address
    return await channels.page(conn, limit=limit, asset=asset, peer_device=device)


def _bad(text: str) -> RpcError:
    return RpcError(INVALID_PARAMS, text, code="bad_params")
