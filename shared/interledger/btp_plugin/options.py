"""The options of a BtpPlugin, by the names that ilp-plugin-btp gave them; ours are marked with a star.

    option                      what                                                     default
    --------------------------  -------------------------------------------------------  ------------------------------
    server                      btp+ws://account:token@host:port/path: dial this         none
    btpAccount, btpToken        the same credentials outside the URL                     ""
    btpAuthFlags                more entries of the login, by name                       none
    listener                    {port, secret, host*, ssl*, wsOpts.host}: listen         none; host: 127.0.0.1
    responseTimeout             ms that an answer may take                               35 000
    reconnectIntervals          ms to wait before each attempt; the last one for ever    0, 100, 500, 1000, 2000, 5000
    reconnectInterval           the same if it is always one wait                        none
    reconnectClearTryTimeout    ms after a failure until they begin anew                 10 000
    waitForPeer*                whether `connect` of a listener waits for its peer       true
    loginTimeout*               ms that a stranger may say nothing                       10 000
    pingInterval*               ms between pings; a peer that misses two is dropped      20 000
    maxStrangers*               sockets that have not logged in, together                64
    maxStrangersPerAddress*     the same from one address                                16

`wait_for_peer` is `waitForPeer`, likewise for all others. Options of other names are somebody else's and not looked at,
but in `listener` they are refused: what somebody wrote there to narrow who may come in must not be passed over.
"""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shared.interledger.btp.addresses import BtpAddress, BtpAddressError, parse_btp_address
from shared.interledger.btp.limits import Limits
from shared.interledger.btp.login import login_entries
from shared.interledger.btp.reconnecting import DEFAULT_CLEAR_S, DEFAULT_WAITS_S
from shared.interledger.errors import EncodingError
from shared.interledger.plugin.errors import InvalidFieldsError

if TYPE_CHECKING:
    from shared.interledger.btp.subprotocols import Value

DEFAULT_PING_S = 20.0
DEFAULT_HOST = "127.0.0.1"
MAX_STRANGERS = 64
MAX_STRANGERS_PER_ADDRESS = 16

_NAMES: Final = (
    "server",
    "btpAccount",
    "btpToken",
    "btpAuthFlags",
    "listener",
    "responseTimeout",
    "reconnectIntervals",
    "reconnectInterval",
    "reconnectClearTryTimeout",
    "waitForPeer",
    "loginTimeout",
    "pingInterval",
    "maxStrangers",
    "maxStrangersPerAddress",
)
_OF_LISTENER = frozenset({"port", "secret", "host", "ssl", "wsOpts"})
_CAPITAL = re.compile(r"(?=[A-Z])")
_MILLISECONDS = 1_000
_MAX_PORT = 65_535
_LONGEST_MS = 86_400_000
_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """Where to listen, and what a peer has to know; `port` 0 takes a free one."""

    port: int
    secret: bytes = field(repr=False)
    host: str = DEFAULT_HOST
    ssl: ssl.SSLContext | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class BtpOptions:
    """The table above, checked; times in seconds."""

    server: BtpAddress | None = None
    flags: Mapping[str, Value] = field(default_factory=dict, repr=False)
    listener: ListenerOptions | None = None
    limits: Limits = field(default_factory=Limits)
    waits_s: tuple[float, ...] = DEFAULT_WAITS_S
    clear_s: float = DEFAULT_CLEAR_S
    waits_for_peer: bool = True
    ping_s: float = DEFAULT_PING_S
    strangers: int = MAX_STRANGERS
    strangers_per_address: int = MAX_STRANGERS_PER_ADDRESS


def read_btp_options(opts: Mapping[str, Any]) -> BtpOptions:
    """Check the options of a plugin. Raises InvalidFieldsError; its message shows no value."""
    found = {name: value for name in _NAMES if (value := _one_of(opts, name)) is not None}
    waits = found.get("reconnectIntervals")
    if waits is None and found.get("reconnectInterval"):
        waits = [found["reconnectInterval"]]
    return BtpOptions(
        server=_server(found),
        flags=_flags(found.get("btpAuthFlags", {})),
        listener=_listener(found["listener"]) if "listener" in found else None,
        limits=Limits(
            login_s=_seconds(found, "loginTimeout", _LIMITS.login_s),
            response_s=_seconds(found, "responseTimeout", _LIMITS.response_s),
        ),
        waits_s=DEFAULT_WAITS_S if waits is None else _waits(waits),
        clear_s=_seconds(found, "reconnectClearTryTimeout", DEFAULT_CLEAR_S),
        waits_for_peer=_flag(found, "waitForPeer"),
        ping_s=_seconds(found, "pingInterval", DEFAULT_PING_S),
        strangers=_count(found, "maxStrangers", MAX_STRANGERS),
        strangers_per_address=_count(found, "maxStrangersPerAddress", MAX_STRANGERS_PER_ADDRESS),
    )


def _one_of(opts: Mapping[str, Any], name: str) -> Any:
    ours = _CAPITAL.sub("_", name).lower()
    if ours != name and opts.get(name) is not None and opts.get(ours) is not None:
        raise InvalidFieldsError(f"{name} and {ours} are the same option: there should be one of them")
    return opts.get(name) if opts.get(name) is not None else opts.get(ours)


def _server(found: Mapping[str, Any]) -> BtpAddress | None:
    account, token = (_text(found.get(name, ""), name) for name in ("btpAccount", "btpToken"))
    if "server" not in found:
        return None
    try:
        return parse_btp_address(_text(found["server"], "server"), username=account, token=token)
    except BtpAddressError as error:
        raise InvalidFieldsError(str(error)) from None


def _flags(flags: Any) -> Mapping[str, Value]:
    if not isinstance(flags, Mapping) or not all(isinstance(name, str) for name in flags):
        raise InvalidFieldsError("btpAuthFlags should be a mapping of names to values")
    try:
        entries = login_entries(flags=flags)
    except EncodingError as error:
        raise InvalidFieldsError(f"btpAuthFlags: {error}") from None
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        raise InvalidFieldsError("btpAuthFlags should not name what a login has anyway")
    return dict(flags)


def _listener(given: Any) -> ListenerOptions:
    if not isinstance(given, Mapping):
        raise InvalidFieldsError("listener should be a mapping with port and secret")
    for name in given:
        if name not in _OF_LISTENER:
            raise InvalidFieldsError(f"listener should have {', '.join(sorted(_OF_LISTENER))} and nothing else")
    port, secret = given.get("port"), _text(given.get("secret"), "listener.secret")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= _MAX_PORT:
        raise InvalidFieldsError(f"listener.port should be an integer from 0 to {_MAX_PORT}")
    if not secret:
        raise InvalidFieldsError("listener.secret should not be empty: anybody would be the peer")
    others = given.get("wsOpts")
    host = given.get("host") or (others.get("host") if isinstance(others, Mapping) else None) or DEFAULT_HOST
    context = given.get("ssl")
    if context is not None and not isinstance(context, ssl.SSLContext):
        raise InvalidFieldsError("listener.ssl should be an ssl.SSLContext")
    return ListenerOptions(port, secret.encode(), _text(host, "listener.host"), context)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidFieldsError(f"{name} should be text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidFieldsError(f"{name} should be text that can be written") from None
    return value


def _seconds(found: Mapping[str, Any], name: str, default: float) -> float:
    value = found.get(name, 0)
    return _ms(value, name) / _MILLISECONDS if value != 0 else default


def _waits(waits: Any) -> tuple[float, ...]:
    if not isinstance(waits, list | tuple) or not waits:
        raise InvalidFieldsError("reconnectIntervals should be a list of milliseconds")
    return tuple(_ms(wait, "reconnectIntervals") / _MILLISECONDS for wait in waits)


def _ms(value: Any, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
        raise InvalidFieldsError(f"{name} should be a number of milliseconds")
    if not 0 <= value <= _LONGEST_MS:
        raise InvalidFieldsError(f"{name} should be from 0 to {_LONGEST_MS} ms")
    return float(value)


def _flag(found: Mapping[str, Any], name: str) -> bool:
    value = found.get(name, True)
    if not isinstance(value, bool):
        raise InvalidFieldsError(f"{name} should be true or false")
    return value


def _count(found: Mapping[str, Any], name: str, default: int) -> int:
    value = found.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidFieldsError(f"{name} should be an integer from 1")
    return value
