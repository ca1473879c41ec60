"""Who listens to what a ledger plugin tells: `connect`, `disconnect`, `error`.

A listener's exception is logged and goes nowhere else: it must not stop what is being told (LPI-18). What an
asynchronous listener does runs as a task of its own.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, TypeAlias

from shared.interledger.plugin.errors import InvalidFieldsError, WrongTypeError
from shared.interledger.plugin.life import EVENTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.interledger.plugin.log import Log

    Listener: TypeAlias = Callable[..., Any]


class Listeners:
    """The listeners of one plugin, told in the order in which they came."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._listeners: dict[str, list[tuple[Listener, bool]]] = {event: [] for event in EVENTS}
        self._tasks: set[asyncio.Future[Any]] = set()

    def add(self, event: str, listener: Listener, *, once: bool) -> None:
        """Tell this listener, too. Raises InvalidFieldsError for an event that there is not, WrongTypeError."""
        if not callable(listener):
            raise WrongTypeError("a listener should be callable")
        self._of(event).append((listener, once))

    def remove(self, event: str, listener: Listener) -> None:
        """Tell this listener no longer; nothing happens if it was not told. Raises InvalidFieldsError."""
        listeners = self._of(event)
        found = next((entry for entry in listeners if entry[0] == listener), None)
        if found is not None:
            listeners.remove(found)

    def tell(self, event: str, *args: object) -> None:
        """Tell everybody now."""
        for entry in tuple(self._of(event)):
            listener, once = entry
            if once and entry in self._of(event):
                self._of(event).remove(entry)
            try:
                result = listener(*args)
                if inspect.isawaitable(result):
                    task = asyncio.ensure_future(self._guarded(event, result))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the listener's
                self._log.error("a listener to %s has failed: %s", event, type(error).__name__)

    async def _guarded(self, event: str, result: Awaitable[Any]) -> None:
        try:
            await result
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the listener's
            self._log.error("a listener to %s has failed: %s", event, type(error).__name__)

    def _of(self, event: str) -> list[tuple[Listener, bool]]:
        try:
            return self._listeners[event]
        except (KeyError, TypeError):
            raise InvalidFieldsError("events are connect, disconnect and error") from None
