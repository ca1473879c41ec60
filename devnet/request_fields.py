"""Reading the parameters of requests, which come from strangers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

from shared.obyte.chash import is_valid_address, is_valid_base64
from shared.obyte.units import HASH_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LISTED = 2_000


class QueryError(Exception):
    """The request cannot be answered; `text` says why."""

    def __init__(self, text: str) -> None:
        """Take the text of the error answer."""
        self.text = text
        super().__init__(text)


def object_of(params: Any, complaint: str) -> dict[str, Any]:
    """Return params that must be a non-empty object. Raises QueryError with the complaint."""
    if not isinstance(params, dict) or not params:
        raise QueryError(complaint)
    return params


def address_of(value: Any) -> str:
    """Return a value that must be an address. Raises QueryError."""
    if not is_valid_address(value):
        raise QueryError("address not valid")
    return str(value)


def list_of(request: dict[str, Any], name: str, is_valid: Callable[[object], bool]) -> list[str] | None:
    """Return a field that may be absent, but else is a non-empty array of valid values. Raises QueryError."""
    values = request.get(name)
    if values is None:
        return None
    if not isinstance(values, list) or not values:
        raise QueryError(f"{name} must be non-empty array")
    if len(values) > MAX_LISTED:
        raise QueryError(f"too many {name}")
    if not all(map(is_valid, values)):
        raise QueryError(f"some {name} are not valid")
    return values


def is_address_list(values: Any, limit: int) -> TypeGuard[list[str]]:
    """Tell whether a value is an array of 1 to `limit` addresses."""
    return isinstance(values, list) and 0 < len(values) <= limit and all(map(is_valid_address, values))


def is_hash(value: object) -> TypeGuard[str]:
    """Tell whether a value is the hash of a unit."""
    return is_valid_base64(value, HASH_CHARACTERS)


def is_amount(value: object) -> bool:
    """Tell whether a value is a positive integer."""
    return type(value) is int and value > 0
