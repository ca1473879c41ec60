"""Logs as hosts of ledger plugins pass them: messages with places for values, in the manner of Node's `util.format`.

    %s text   %d number   %j JSON, `[Circular]` if it contains itself   %o one line   %O over several lines   %% a %

Values left over are appended. A logger of Python's and one of a JavaScript kind both get one text, made here.
"""

from __future__ import annotations

import json
import logging
import pprint
import re
from typing import Any, Final

from shared.interledger.plugin.errors import InvalidServicesError

_PLACE = re.compile(r"%([sdjoO%])")
_WIDTH = 120
_UNSHOWN: Final = {"j": "[Circular]", "d": "NaN"}
_LEVELS: Final = {
    "trace": ("trace", "debug"),
    "debug": ("debug",),
    "info": ("info",),
    "warn": ("warning", "warn"),
    "error": ("error",),
}
"""What each level is called, in the order in which names are tried."""


def formatted(message: str, *params: object) -> str:
    """Return the message with its values in their places."""
    left = list(params)

    def value(found: re.Match[str]) -> str:
        kind = found[1]
        if kind == "%":
            return "%"
        return _shown(kind, left.pop(0)) if left else found[0]

    text = _PLACE.sub(value, message)
    return " ".join((text, *(_shown("o", param) for param in left)))


class Log:
    """A host's logger, whatever it lacks; without one, Python's own. Raises InvalidServicesError if it is none."""

    def __init__(self, target: object | None = None) -> None:
        self._target = logging.getLogger("shared.interledger") if target is None else target
        self._names: dict[str, str] = {}
        for level, names in _LEVELS.items():
            found = next((name for name in names if callable(getattr(self._target, name, None))), None)
            if found is None:
                raise InvalidServicesError(f"log has no method {level}")
            self._names[level] = found

    def trace(self, message: str, *params: object) -> None:
        """Log what is of use only for finding a fault; as debug where there is no such level."""
        self._log("trace", message, params)

    def debug(self, message: str, *params: object) -> None:
        """Log what is of use to who looks for a fault."""
        self._log("debug", message, params)

    def info(self, message: str, *params: object) -> None:
        """Log what happens rarely."""
        self._log("info", message, params)

    def warn(self, message: str, *params: object) -> None:
        """Log what should not happen."""
        self._log("warn", message, params)

    def error(self, message: str, *params: object) -> None:
        """Log what has to be looked at."""
        self._log("error", message, params)

    def _log(self, level: str, message: str, params: tuple[object, ...]) -> None:
        # Both kinds of loggers know %s, and look for no more places in what is put there.
        getattr(self._target, self._names[level])("%s", formatted(message, *params))


def _shown(kind: str, value: Any) -> str:
    try:
        match kind:
            case "d":
                return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(int(value))
            case "j":
                return json.dumps(value, default=str, separators=(",", ":"))
            case "O":
                return pprint.pformat(value, width=_WIDTH)
            case "o":
                return " ".join(repr(value).split())
            case _:
                return str(value)
    except Exception:  # noqa: BLE001 - what cannot be shown must not break who only wants to log
        return _UNSHOWN.get(kind, "[unprintable]")
