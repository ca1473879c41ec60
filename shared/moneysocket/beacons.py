"""Beacons of version 0: where to meet, and the seed to meet with, in one line of text or one QR code.

`moneysocket1…` is bech32 over a single record B whose number is 65979 (2^16 + 443):

| record             | number | value                                                                     |
|--------------------|--------|---------------------------------------------------------------------------|
| beacon             | B      | shared seed, then location list                                           |
| shared seed        | B+2    | 16 bytes                                                                  |
| location count     | B+4    | BigSize                                                                   |
| location list      | B+6    | location count, then that many locations                                  |
| WebSocket location | B+8    | 0 host (UTF-8), 1 TLS (BigSize 0 or 1), 2 port (BigSize)                  |
| WebRTC, Bluetooth, | B+10,  | 0 text; no transport was ever built for them                              |
| NFC location       | +12, +14 |                                                                         |

Written: TLS only when it is 0, the port only when it is not the default (443 with TLS, 80 without).

Read as leniently as both libraries read: bytes behind what is counted, unknown parts of a location, duplicates (the
last wins) and any order inside a location are taken; an unknown kind of location spoils the whole beacon. Where the
two differ this follows the Python library, which never takes more: seeds have 16 bytes, hosts are UTF-8, port 0 means
the default. What can be read need not be fit to dial: `WebSocketLocation.url` refuses what no socket can reach.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeAlias

from shared.moneysocket.bech32 import decode_bech32, encode_bech32
from shared.moneysocket.bigsize import encode_bigsize, read_bigsize
from shared.moneysocket.errors import BeaconError
from shared.moneysocket.seeds import SharedSeed
from shared.moneysocket.tlv import Tlv, iterate_tlvs, read_tlv

PREFIX = "moneysocket"
TLS_PORT, PLAIN_PORT = 443, 80

_BASE = 65979
_BEACON, _SEED, _COUNT, _LIST, _WEBSOCKET = (_BASE + step for step in (0, 2, 4, 6, 8))
_WITHOUT_TRANSPORT = {_BASE + 10: "WebRTC", _BASE + 12: "Bluetooth", _BASE + 14: "NFC"}
_HOST, _TLS, _PORT = 0, 1, 2
_TEXT = 0
_MAX_PORT = 65535
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


@dataclass(frozen=True, slots=True)
class WebSocketLocation:
    """A WebSocket to dial. Without `port` it is the default port of `use_tls`."""

    host: str
    port: int = 0
    use_tls: bool = True

    def __post_init__(self) -> None:
        """Fill in the default port."""
        if self.port == 0:
            object.__setattr__(self, "port", self._default_port)

    @property
    def _default_port(self) -> int:
        return TLS_PORT if self.use_tls else PLAIN_PORT

    @property
    def url(self) -> str:
        """`wss://host:port` or `ws://host:port`, an IPv6 address in brackets.

        Raises BeaconError `bad_location` if no socket can be opened there.
        """
        is_ipv6 = _IPV6.fullmatch(self.host) is not None
        if not is_ipv6 and not _HOST_NAME.fullmatch(self.host):
            raise BeaconError("bad_location", "the host of the location is no host name and no address")
        if self.port > _MAX_PORT:
            raise BeaconError("bad_location", f"the port of the location is {self.port}; ports end at {_MAX_PORT}")
        host = f"[{self.host}]" if is_ipv6 else self.host
        return f"{'wss' if self.use_tls else 'ws'}://{host}:{self.port}"

    def encode(self) -> bytes:
        """The location as a record."""
        value = Tlv(_HOST, _utf8(self.host)).encode()
        if not self.use_tls:
            value += Tlv(_TLS, encode_bigsize(0)).encode()
        if self.port != self._default_port:
            value += Tlv(_PORT, encode_bigsize(self.port)).encode()
        return Tlv(_WEBSOCKET, value).encode()


@dataclass(frozen=True, slots=True)
class OtherLocation:
    """A location by a means that was named but never built: `kind` is `WebRTC`, `Bluetooth` or `NFC`."""

    kind: str
    text: str

    def encode(self) -> bytes:
        """The location as a record; raises BeaconError `unknown_location` for another kind."""
        for number, kind in _WITHOUT_TRANSPORT.items():
            if kind == self.kind:
                return Tlv(number, Tlv(_TEXT, _utf8(self.text)).encode()).encode()
        raise BeaconError("unknown_location", f"{self.kind!r} is no kind of location")


Location: TypeAlias = WebSocketLocation | OtherLocation


@dataclass(frozen=True, slots=True)
class Beacon:
    """A seed and the places to use it at, best first. Its text is as secret as the seed: `repr` leaves it out."""

    seed: SharedSeed
    locations: tuple[Location, ...] = field(default=())

    @property
    def websockets(self) -> tuple[WebSocketLocation, ...]:
        """The locations that can be dialled, in their order."""
        return tuple(place for place in self.locations if isinstance(place, WebSocketLocation))

    def encode(self) -> str:
        """The beacon as text, the same bytes as both libraries write. Raises EncodingError `too_long`."""
        count = Tlv(_COUNT, encode_bigsize(len(self.locations))).encode()
        places = b"".join(location.encode() for location in self.locations)
        seed = Tlv(_SEED, self.seed.secret).encode()
        return encode_bech32(PREFIX, Tlv(_BEACON, seed + Tlv(_LIST, count + places).encode()).encode())


def decode_beacon(text: str) -> Beacon:
    """Read a beacon; a `moneysocket:` in front, as QR codes have it, is for the caller to take off.

    Raises EncodingError, or BeaconError `wrong_prefix`, `wrong_type`, `bad_seed`, `bad_location`, `unknown_location`.
    """
    prefix, data = decode_bech32(text)
    if prefix != PREFIX:
        raise BeaconError("wrong_prefix", f"a beacon begins with {PREFIX}1")
    beacon, _ = _read(data, 0, _BEACON)
    seed, at = _read(beacon.value, 0, _SEED)
    listed, _ = _read(beacon.value, at, _LIST)
    counted, at = _read(listed.value, 0, _COUNT)
    count, _ = read_bigsize(counted.value)
    locations: list[Location] = []
    while len(locations) < count:  # every round eats a record of the list, which is finite
        record, at = read_tlv(listed.value, at)
        locations.append(_decode_location(record))
    return Beacon(SharedSeed(seed.value), tuple(locations))


def _read(data: bytes, at: int, number: int) -> tuple[Tlv, int]:
    record, after = read_tlv(data, at)
    if record.type != number:
        raise BeaconError("wrong_type", f"a beacon has record {number} where this text has {record.type}")
    return record, after


def _decode_location(record: Tlv) -> Location:
    kind = _WITHOUT_TRANSPORT.get(record.type)
    if kind is None and record.type != _WEBSOCKET:
        raise BeaconError("unknown_location", f"{record.type} is no kind of location")
    parts = {part.type: part.value for part in iterate_tlvs(record.value)}
    if _TEXT not in parts:
        raise BeaconError("bad_location", "a location lacks its host or text")
    try:
        text = parts[_TEXT].decode()
    except UnicodeDecodeError:
        raise BeaconError("bad_location", "the host or text of a location is not UTF-8") from None
    if kind is not None:
        return OtherLocation(kind, text)
    tls = read_bigsize(parts[_TLS])[0] if _TLS in parts else 1
    if tls not in (0, 1):
        raise BeaconError("bad_location", f"the TLS flag of a location is 0 or 1, not {tls}")
    port = read_bigsize(parts[_PORT])[0] if _PORT in parts else 0
    return WebSocketLocation(text, port, use_tls=tls == 1)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BeaconError("bad_location", "the host or text of a location cannot be written in UTF-8") from None
