"""Hashes and sizes of JSON values (Obyte, ocore `object_hash.js` and `object_length.js`)."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from shared.obyte.errors import SerializationError
from shared.obyte.serialization import MAX_DEPTH, JsonValue, json_source, typed_source, utf8, utf16_length

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NUMBER_SIZE = 8


def sha256(data: bytes) -> bytes:
    """Return the 32-byte SHA-256 digest."""
    return hashlib.sha256(data).digest()


def digest_of(value: JsonValue, *, typed: bool = False) -> bytes:
    """Return the raw SHA-256 of a value's JSON source, or of its typed source: what gets signed.

    Raises `SerializationError`.
    """
    return sha256(utf8(typed_source(value) if typed else json_source(value)))


def base64_hash(value: JsonValue, *, typed: bool = False) -> str:
    """Return `digest_of(value)` as 44 characters of base64. Raises `SerializationError`."""
    return base64.b64encode(digest_of(value, typed=typed)).decode()


def device_digest(message: Mapping[str, JsonValue]) -> bytes:
    """Return the digest a device signs: typed source without the field `signature` and, at any depth, without nulls.

    Logins to a hub, temporary keys and device messages are signed this way. Raises `SerializationError`.
    """
    unsigned = {key: value for key, value in message.items() if key != "signature"}
    return digest_of(_without_nulls(unsigned, MAX_DEPTH), typed=True)


def ball_hash(
    unit: str,
    parent_balls: Sequence[str],
    skiplist_balls: Sequence[str] = (),
    is_nonserial: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """Return the ball of a stable unit: its hash together with the balls it rests on.

    `is_nonserial` marks a unit that lost to a conflicting one. Raises `SerializationError`.
    """
    ball: dict[str, JsonValue] = {"unit": unit}
    if parent_balls:
        ball["parent_balls"] = sorted(parent_balls)
    if skiplist_balls:
        ball["skiplist_balls"] = sorted(skiplist_balls)
    if is_nonserial:
        ball["is_nonserial"] = True
    return base64_hash(ball, typed=True)


def length_of(value: JsonValue, *, with_keys: bool) -> int:
    """Return the size in bytes that fees are charged for; `with_keys` since units of version 3.

    A string counts its UTF-16 code units, a number 8, a boolean 1, null nothing. Raises `SerializationError`.
    """
    return _length_of(value, with_keys, MAX_DEPTH)


def _length_of(value: JsonValue, with_keys: bool, depth_left: int) -> int:  # noqa: FBT001
    if isinstance(value, str):
        return utf16_length(value)
    if isinstance(value, bool):
        return 1
    if isinstance(value, int | float):
        return _NUMBER_SIZE
    if value is None:
        return 0
    if depth_left == 0:
        raise SerializationError("too_deep", f"containers are nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        keys = sum(map(utf16_length, value)) if with_keys else 0
        return keys + sum(_length_of(element, with_keys, depth_left - 1) for element in value.values())
    if isinstance(value, list | tuple):
        return sum(_length_of(element, with_keys, depth_left - 1) for element in value)
    raise SerializationError("unsupported_type", f"{type(value).__name__} is not a JSON value")


def _without_nulls(value: JsonValue, depth_left: int) -> JsonValue:
    if depth_left < 0:
        raise SerializationError("too_deep", f"containers are nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        return {key: _without_nulls(element, depth_left - 1) for key, element in value.items() if element is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(element, depth_left - 1) for element in value]
    return value
