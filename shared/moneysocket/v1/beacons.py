"""Beacons of the draft of version 1: bech32 over exactly one record of type 0, whose value is a stream of records.

| type  | record            | value                                                                             |
|-------|-------------------|-----------------------------------------------------------------------------------|
| 0     | generator version | three bytes; first                                                                |
| 1     | role hint         | one byte; may be absent                                                           |
| 2     | shared seed       | 16 bytes                                                                          |
| 3     | location list     | records, at least one of a known type; known by its place, its type is not looked at |
| other | unknown           | kept                                                                              |

A WebSocket location (type 0) is again a stream of records:

| type | record     | value                                              | when                                   |
|------|------------|----------------------------------------------------|----------------------------------------|
| 0    | preference | one byte, 0 the best                               | first, if it is not 255                |
| 1    | host name  | dotted labels, the last one not a number           | next                                   |
| 2    | TLS        | `00`                                               | if plain                               |
| 3    | port       | BigSize up to 65535                                | if not the default as known so far     |
| 4    | path       | UTF-8, without leading slashes                     | if not empty                           |

The last three come in any order, the last of duplicates wins. A preference or port of 0 means the default, as in the
reference, and so does not survive being written again. The prefix begins with `moneysocket` and may go on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from shared.moneysocket.bech32 import decode_bech32, encode_bech32
from shared.moneysocket.bigsize import encode_bigsize, read_bigsize
from shared.moneysocket.errors import BeaconError
from shared.moneysocket.seeds import SharedSeed
from shared.moneysocket.tlv import Tlv, iterate_tlvs, read_tlv
from shared.moneysocket.v1.version import DRAFT, Version

PREFIX = "moneysocket"
TLS_PORT, PLAIN_PORT = 443, 80
NO_PREFERENCE = 255

_VERSION, _ROLE, _SEED, _LOCATIONS = range(4)
_WEBSOCKET = 0
_PREFERENCE, _HOSTNAME, _TLS, _PORT, _PATH = range(5)
_MAX_PORT = 65535
_MAX_HOSTNAME = 253
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


class Role(IntEnum):
    """What the end that made the beacon is, and what it is looking for."""

    PROVIDER_GENERATOR_SEEKING_CONSUMER = 0
    CONSUMER_GENERATOR_SEEKING_PROVIDER = 1
    AUTOMATIC_GENERATOR = 2


@dataclass(frozen=True, slots=True)
class WebSocketPlace:
    """A WebSocket to dial; `port` 0 and `preference` 0 stand for the defaults.

    Raises BeaconError `bad_location` for a host name, port or preference that nobody would read.
    """

    hostname: str
    port: int = 0
    use_tls: bool = True
    path: str = ""
    preference: int = NO_PREFERENCE

    def __post_init__(self) -> None:
        """Put in the defaults and check."""
        object.__setattr__(self, "port", self.port or self._default_port)
        object.__setattr__(self, "preference", self.preference or NO_PREFERENCE)
        object.__setattr__(self, "path", self.path.lstrip("/"))
        if not _is_hostname(self.hostname):
            raise BeaconError("bad_location", "the host name of a location is made of letters, digits and hyphens")
        if not 0 < self.port <= _MAX_PORT or not 0 < self.preference <= NO_PREFERENCE:
            raise BeaconError("bad_location", "the port or the preference of a location is out of range")

    @property
    def _default_port(self) -> int:
        return TLS_PORT if self.use_tls else PLAIN_PORT

    @property
    def url(self) -> str:
        """`wss://host:port/path` or `ws://host:port/path`."""
        return f"{'wss' if self.use_tls else 'ws'}://{self.hostname}:{self.port}/{self.path}"

    def encode(self) -> bytes:
        """The location as a record; raises BeaconError `bad_location` for a path that UTF-8 cannot hold."""
        parts = [Tlv(_PREFERENCE, bytes([self.preference]))] if self.preference != NO_PREFERENCE else []
        parts.append(Tlv(_HOSTNAME, self.hostname.encode()))
        if not self.use_tls:
            parts.append(Tlv(_TLS, b"\0"))
        if self.port != self._default_port:
            parts.append(Tlv(_PORT, encode_bigsize(self.port)))
        if self.path:
            try:
                parts.append(Tlv(_PATH, self.path.encode()))
            except UnicodeEncodeError:
                raise BeaconError("bad_location", "the path of a location cannot be written in UTF-8") from None
        return Tlv(_WEBSOCKET, b"".join(part.encode() for part in parts)).encode()


Place: TypeAlias = WebSocketPlace | Tlv
"""A location; one of an unknown type stays the record it came as."""


@dataclass(frozen=True, slots=True)
class BeaconV1:
    """A beacon of the draft. Its text is as secret as its seed."""

    seed: SharedSeed
    locations: tuple[Place, ...]
    role: Role | None = None
    version: Version = DRAFT
    prefix: str = PREFIX
    unknown: tuple[Tlv, ...] = ()

    def encode(self) -> str:
        """The beacon as text; raises BeaconError `wrong_prefix`, `bad_location`, or EncodingError."""
        _check_prefix(self.prefix)
        if not any(isinstance(place, WebSocketPlace) for place in self.locations):
            raise BeaconError("bad_location", "a beacon has at least one location that can be dialled")
        records = [Tlv(_VERSION, self.version.encode())]
        if self.role is not None:
            records.append(Tlv(_ROLE, bytes([self.role])))
        records.append(Tlv(_SEED, self.seed.secret))
        records.append(Tlv(_LOCATIONS, b"".join(place.encode() for place in self.locations)))
        stream = b"".join(record.encode() for record in (*records, *self.unknown))
        return encode_bech32(self.prefix, Tlv(0, stream).encode())


def decode_beacon_v1(text: str) -> BeaconV1:
    """Read a beacon of the draft.

    Raises EncodingError, or BeaconError `wrong_prefix`, `wrong_type`, `trailing_bytes`, `bad_version`, `bad_role`,
    `bad_seed`, `bad_location`, `not_minimal`.
    """
    prefix, data = decode_bech32(text)
    _check_prefix(prefix)
    outer, end = read_tlv(data)
    if end != len(data):
        raise BeaconError("trailing_bytes", "a beacon of version 1 is exactly one record")
    if outer.type != 0:
        raise BeaconError("wrong_type", f"a beacon of version 1 is a record of type 0, not {outer.type}")
    records = list(iterate_tlvs(outer.value))
    version = Version.from_bytes(_next(records, _VERSION).value)
    role = _read_role(records.pop(0).value) if records and records[0].type == _ROLE else None
    seed = SharedSeed(_next(records, _SEED).value)
    locations = _read_locations(_next(records, None).value)
    return BeaconV1(seed, locations, role, version, prefix, tuple(records))


def _check_prefix(prefix: str) -> None:
    if not prefix.startswith(PREFIX):
        raise BeaconError("wrong_prefix", f"a beacon begins with {PREFIX}")


def _next(records: list[Tlv], number: int | None) -> Tlv:
    if not records or (number is not None and records[0].type != number):
        raise BeaconError(
            "wrong_type", "a beacon of version 1 has version, role hint, seed and locations in this order"
        )
    return records.pop(0)


def _read_role(value: bytes) -> Role:
    if len(value) != 1 or value[0] > max(Role):
        raise BeaconError("bad_role", f"a role hint is one byte from 0 to {max(Role)}")
    return Role(value[0])


def _read_locations(data: bytes) -> tuple[Place, ...]:
    places = tuple(_read_place(record) for record in iterate_tlvs(data))
    if not any(isinstance(place, WebSocketPlace) for place in places):
        raise BeaconError("bad_location", "a beacon has at least one location of a known type")
    return places


def _read_place(record: Tlv) -> Place:
    if record.type != _WEBSOCKET:
        return record
    parts = list(iterate_tlvs(record.value))
    preference = NO_PREFERENCE
    if parts and parts[0].type == _PREFERENCE:
        preference = _byte(parts.pop(0).value)
        if preference == NO_PREFERENCE:
            raise BeaconError("not_minimal", f"a preference of {NO_PREFERENCE} is not written")
    if not parts or parts[0].type != _HOSTNAME:
        raise BeaconError("bad_location", "a location begins with its host name, but for a preference")
    hostname = _text(parts.pop(0).value)
    return WebSocketPlace(hostname, *_read_rest(parts), preference)


def _read_rest(parts: list[Tlv]) -> tuple[int, bool, str]:
    use_tls, port, path = True, 0, ""
    for part in parts:
        if part.type == _TLS:
            if _byte(part.value) != 0:
                raise BeaconError("not_minimal", "the TLS flag is 0 and otherwise not written")
            use_tls = False
        elif part.type == _PORT:
            port = _read_port(part.value, TLS_PORT if use_tls else PLAIN_PORT)
        elif part.type == _PATH:
            path = _text(part.value)
            if not path:
                raise BeaconError("not_minimal", "an empty path is not written")
        else:
            raise BeaconError("bad_location", f"a location has no part of type {part.type}")
    return port, use_tls, path


def _byte(value: bytes) -> int:
    if len(value) != 1:
        raise BeaconError("bad_location", f"a flag or preference of a location has one byte, not {len(value)}")
    return value[0]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BeaconError("bad_location", "the host name or path of a location is not UTF-8") from None


def _read_port(value: bytes, default: int) -> int:
    port, end = read_bigsize(value)
    if end != len(value) or port > _MAX_PORT:
        raise BeaconError("bad_location", f"the port of a location is a BigSize up to {_MAX_PORT}")
    if port == default:
        raise BeaconError("not_minimal", "the default port is not written")
    return port


def _is_hostname(hostname: str) -> bool:
    labels = hostname.removesuffix(".")
    parts = labels.split(".")
    return len(labels) <= _MAX_HOSTNAME and not parts[-1].isdigit() and all(map(_LABEL.fullmatch, parts))
