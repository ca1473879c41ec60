"""The ledger plugin interface, version 2 (RFC-0024): one account with one peer, a pipe for data and a pipe for money.

Who writes a plugin defines four methods and calls three; all the rest is the same for every plugin and is here.

    defines                                            calls
    -------------------------------------------------  -----------------------------------------------------------
    _connect()      until the plugin is usable          _incoming_data(data)      to have an ILP packet answered
    _disconnect()   let go of everything                _incoming_money(amount)   after the money was stored
    _send_data(d)   one request, one reply              _went(Step.LOST), _went(Step.READY), _went(Step.FAIL, error)
    _send_money(n)  return when the peer acknowledged

Time is asyncio's. `life` has the states and what is told when.
"""

from __future__ import annotations

import abc
import inspect
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from shared.interledger.amounts import MAX_AMOUNT, parse_amount
from shared.interledger.errors import DecodingError
from shared.interledger.plugin.connecting import Connecting
from shared.interledger.plugin.errors import (
    DataHandlerAlreadyRegisteredError,
    InvalidAmountError,
    InvalidServicesError,
    MoneyHandlerAlreadyRegisteredError,
    NotAcceptedError,
    WrongTypeError,
)
from shared.interledger.plugin.life import EventName, State, Step
from shared.interledger.plugin.listeners import Listeners
from shared.interledger.plugin.options import ConnectOptions, PluginServices, read_options, read_services, timeout_s
from shared.interledger.plugin.spellings import bind_spellings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType
    from typing import Self, TypeVar

    Callback = TypeVar("Callback", bound=Callable[..., Any])

DataHandler: TypeAlias = "Callable[[bytes], Awaitable[bytes]]"
"""Gives the reply to an ILP packet."""
MoneyHandler: TypeAlias = "Callable[[int], Awaitable[None]] | Callable[[int, Mapping[str, Any]], Awaitable[None]]"
"""Is told of money that has come in: how much, and if it wants two arguments which claim it is."""


class LedgerPlugin(abc.ABC):
    """One account with one peer. Both spellings of each method are there: `send_data` and `sendData`.

    `opts` are the plugin's own; `api` lends a store and a log. The constructor opens nothing and needs no event loop
    (LPI-3); it raises WrongTypeError, InvalidFieldsError and InvalidServicesError.
    """

    version: ClassVar[int] = 2
    needs_store: ClassVar[bool] = False
    """Whether the plugin is unsafe without a store (LPI-15)."""
    max_amount: ClassVar[int] = MAX_AMOUNT
    """The most that one `send_money` takes."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        bind_spellings(cls)
        for public in ("connect", "disconnect", "send_data", "send_money"):
            # Who defines the public method itself does not come to the one behind it, and need not define it.
            behind = f"_{public}"
            if getattr(cls, public) is not getattr(LedgerPlugin, public) and _is_abstract(getattr(cls, behind)):
                setattr(cls, behind, _otherwise)

    def __init__(self, opts: Mapping[str, Any], api: PluginServices | Mapping[str, Any] | None = None) -> None:
        self._opts = read_options(opts)
        services = read_services(self._opts, api)
        if self.needs_store and services.store is None:
            raise InvalidServicesError("this plugin needs a store: in api, or as the option _store")
        self._store = services.store
        self._log = services.log
        self._listeners = Listeners(self._log)
        self._connecting = Connecting(self._connect, self._disconnect, self._listeners, self._log)
        self._data_handler: DataHandler | None = None
        self._money_handler: MoneyHandler | None = None
        self._money_handler_wants_info = False

    # What a plugin defines

    @abc.abstractmethod
    async def _connect(self) -> None:
        """Return when the plugin is usable; raise what `connect` shall raise. It is cancelled when time is over."""

    @abc.abstractmethod
    async def _disconnect(self) -> None:
        """Let go of everything, also after `_connect` has raised or was cancelled."""

    @abc.abstractmethod
    async def _send_data(self, data: bytes) -> bytes:
        """Send an ILP packet and return the reply, empty if there was none in it."""

    @abc.abstractmethod
    async def _send_money(self, amount: int) -> None:
        """Pay; return when the peer has acknowledged. Raise MoneyNotSentError if nothing has left."""

    # What a plugin calls

    def _went(self, step: Step, error: BaseException | None = None) -> None:
        """Tell what has become of the connection: LOST, READY again, or FAIL with the error that ends it for good."""
        self._connecting.went(step, error)

    async def _incoming_data(self, data: bytes) -> bytes:
        """Return the host's reply to an ILP packet. Raises NotAcceptedError (LPI-11), and what the handler raises."""
        if self._data_handler is None:
            raise NotAcceptedError("no data handler is registered")
        with self._connecting.owing():
            reply = await _awaited(self._data_handler(data))
        return _checked_bytes(reply, "what the data handler gives")

    async def _incoming_money(self, amount: int, info: Mapping[str, Any] | None = None) -> None:
        """Tell the host of money; `info` says which claim it is, to a handler that wants it (HA-9).

        Raises NotAcceptedError (LPI-12), and what the handler raises.
        """
        if self._money_handler is None:
            raise NotAcceptedError("no money handler is registered")
        args = (amount, dict(info or {})) if self._money_handler_wants_info else (amount,)
        with self._connecting.owing():
            await _awaited(self._money_handler(*args))

    # Connecting

    async def connect(self, options: ConnectOptions | Mapping[str, Any] | None = None) -> None:
        """Return when the plugin is usable; at once if it is (LPI-4). Raises what refused it, or UnreachableError."""
        await self._connecting.connect(timeout_s(options))

    async def disconnect(self) -> None:
        """Stop everything, and return when it has stopped; `connect` works again afterwards (LPI-5)."""
        await self._connecting.disconnect()

    def is_connected(self) -> bool:
        """Whether the peer is there, as far as is known now (LPI-6)."""
        return self._connecting.state is State.CONNECTED

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    # Sending

    async def send_data(self, data: bytes) -> bytes:
        """Send one ILP packet and return the reply (LPI-7). Raises WrongTypeError, NotConnectedError and others."""
        data = _checked_bytes(data, "data")
        reply = await self._connecting.while_connected(self._send_data(data))
        return _checked_bytes(reply, "the reply")

    async def send_money(self, amount: int | str) -> None:
        """Pay `amount` units, at least one; return when the peer has acknowledged (LPI-8).

        Raises WrongTypeError, InvalidAmountError and NotConnectedError, when nothing has left; MoneyNotSentError
        likewise. After any other error nobody knows whether the money has left.
        """
        await self._connecting.while_connected(self._send_money(self._units(amount)))

    # Handlers

    def register_data_handler(self, handler: DataHandler) -> None:
        """Answer ILP packets by this (LPI-9). Raises WrongTypeError, DataHandlerAlreadyRegisteredError."""
        self._connecting.refuse_if_failed()
        _check_callable(handler)
        if self._data_handler is not None:
            raise DataHandlerAlreadyRegisteredError("a data handler is registered already")
        self._data_handler = handler

    def deregister_data_handler(self) -> None:
        """Have no data handler (LPI-10)."""
        self._data_handler = None

    def register_money_handler(self, handler: MoneyHandler) -> None:
        """Tell of incoming money to this (LPI-9): of the amount, and to a handler of two parameters which claim it is.

        Raises WrongTypeError, MoneyHandlerAlreadyRegisteredError.
        """
        self._connecting.refuse_if_failed()
        _check_callable(handler)
        if self._money_handler is not None:
            raise MoneyHandlerAlreadyRegisteredError("a money handler is registered already")
        self._money_handler = handler
        self._money_handler_wants_info = _needs_two(handler)

    def deregister_money_handler(self) -> None:
        """Have no money handler (LPI-10)."""
        self._money_handler = None

    # Events

    def on(self, event: EventName, listener: Callback) -> Callback:
        """Call the listener whenever that happens: `connect`, `disconnect`, `error` with the exception (LPI-13)."""
        self._listeners.add(event, listener, once=False)
        return listener

    def once(self, event: EventName, listener: Callback) -> Callback:
        """Call the listener when that happens for the first time from now on."""
        self._listeners.add(event, listener, once=True)
        return listener

    def off(self, event: EventName, listener: Callable[..., Any]) -> None:
        """Call the listener no longer."""
        self._listeners.remove(event, listener)

    def _units(self, amount: object) -> int:
        if isinstance(amount, bool) or not isinstance(amount, int | str):
            raise WrongTypeError("amount should be an integer, or its digits as text")
        try:
            units = parse_amount(amount) if isinstance(amount, str) else amount
        except DecodingError as error:
            raise InvalidAmountError(str(error)) from None
        if not 1 <= units <= self.max_amount:
            raise InvalidAmountError(f"amount should be from 1 to {self.max_amount}")
        return units


bind_spellings(LedgerPlugin)


def _is_abstract(method: object) -> bool:
    return bool(getattr(method, "__isabstractmethod__", False))


async def _otherwise(_self: LedgerPlugin, *_args: object) -> None:
    raise NotAcceptedError("this plugin does that in a way of its own")


def _checked_bytes(value: object, what: str) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise WrongTypeError(f"{what} should be bytes")
    return bytes(value)


def _check_callable(handler: object) -> None:
    if not callable(handler):
        raise WrongTypeError("a handler should be callable")


def _needs_two(handler: Callable[..., Any]) -> bool:
    """Whether a handler is to be called with two arguments: one is not enough for it."""
    try:
        signature = inspect.signature(handler)
        signature.bind(0, {})
    except (TypeError, ValueError):
        return False
    try:
        signature.bind(0)
    except TypeError:
        return True
    return False


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
