"""What a host gives to a ledger plugin: options, services, and how long it may take to connect (RFC-0024).

timeout of `connect`, in milliseconds         means
--------------------------------------------  ----------------------------------------------------------
missing, None, 0, NaN                         the default, 35 000
a number above 0                              so long
infinity                                      no limit
below 0, or no number (a bool is none)        TypeError
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.interledger.plugin.errors import InvalidFieldsError, InvalidServicesError, WrongTypeError
from shared.interledger.plugin.log import Log

DEFAULT_TIMEOUT_S = 35.0

_MILLISECONDS = 1_000
_FOREVER_MS = 10**12


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """How long `connect` may take, in milliseconds."""

    timeout: float | None = None


class Store:
    """The host's key/value store: `get`, `put`, and `del` or `delete`, each asynchronous or not (levelup's names).

    Keys and values are text. Raises InvalidServicesError for an object that is no such store.
    """

    def __init__(self, target: object) -> None:
        # `del` is a word of Python's, so it can only be asked for by name.
        delete = getattr(target, "del", None) or getattr(target, "delete", None)
        methods = getattr(target, "get", None), getattr(target, "put", None), delete
        if not all(callable(method) for method in methods):
            raise InvalidServicesError("store should have the methods get, put and del")
        self._get, self._put, self._delete = methods

    async def get(self, key: str) -> str | None:
        """Return the value of a key, None if it has none. Raises InvalidServicesError for a value that is no text."""
        value = await _awaited(_call(self._get, key))
        if value is not None and not isinstance(value, str):
            raise InvalidServicesError("store should give text")
        return value

    async def put(self, key: str, value: str) -> None:
        """Set the value of a key."""
        if not isinstance(key, str) or not isinstance(value, str):
            raise WrongTypeError("keys and values of a store are text")
        await _awaited(_call(self._put, key, value))

    async def delete(self, key: str) -> None:
        """Forget a key."""
        await _awaited(_call(self._delete, key))


@dataclass(frozen=True, slots=True)
class PluginServices:
    """What a host lends to a plugin; both may be absent. The connector passes them in the options, too."""

    store: Any = None
    log: Any = None


@dataclass(frozen=True, slots=True)
class Services:
    """The same as a plugin uses them."""

    store: Store | None
    log: Log


def read_options(opts: object) -> dict[str, Any]:
    """Return a copy of the options. Raises WrongTypeError, and InvalidFieldsError for a name that is no text."""
    if not isinstance(opts, Mapping):
        raise WrongTypeError("opts should be a mapping")
    if not all(isinstance(name, str) for name in opts):
        raise InvalidFieldsError("the names in opts should be text")
    return dict(opts)


def read_services(opts: Mapping[str, Any], api: object) -> Services:
    """Return store and log: those of `api`, else those of the options `_store` and `_log`, the older way.

    Raises WrongTypeError for an `api` that is neither a mapping nor an object with one of them (LPI-16), and
    InvalidServicesError for a store or log that is none.
    """
    found = {name: opts.get(f"_{name}") for name in ("store", "log")}
    if isinstance(api, Mapping):
        found |= {name: api[name] for name in found if api.get(name) is not None}
    elif api is not None:
        if not any(hasattr(api, name) for name in found):
            raise WrongTypeError("api should be an object with store or log, or a mapping")
        found |= {name: given for name in found if (given := getattr(api, name, None)) is not None}
    return Services(None if found["store"] is None else Store(found["store"]), Log(found["log"]))


def timeout_s(options: object) -> float | None:
    """Return for how many seconds `connect` may try, None for ever; by the table above. Raises WrongTypeError."""
    if options is None:
        return DEFAULT_TIMEOUT_S
    if isinstance(options, ConnectOptions):
        value: object = options.timeout
    elif isinstance(options, Mapping):
        value = options.get("timeout")
    else:
        raise WrongTypeError("options of connect should be ConnectOptions or a mapping")
    if value is None:
        return DEFAULT_TIMEOUT_S
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise WrongTypeError("timeout should be a number of milliseconds")
    if value < 0:
        raise WrongTypeError("timeout should not be below 0")
    if value == 0 or (isinstance(value, float) and math.isnan(value)):
        return DEFAULT_TIMEOUT_S
    return None if value > _FOREVER_MS else value / _MILLISECONDS


def _call(method: Any, *args: str) -> Any:
    return method(*args)


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
