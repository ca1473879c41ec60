"""Logging for every process: structlog over the standard library, for people or for machines, without secrets.

Signed packages are bearer secrets: with the channel agent 1.1 whoever holds one can claim a fraudulently closed
channel. They, seeds, keys, passphrases and passwords inside URLs are blotted out of every event, whoever logs it.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog
from structlog.stdlib import ProcessorFormatter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import EventDict, Processor, WrappedLogger

    from shared.settings import Settings

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(
    r"pass(word|phrase|wd)|mnemonic|seed|secret|priv(ate)?_?key|xpriv|xprv|api_?key|token|authorization|cookie"
    r"|signature|signed_message|signed_package|claim$|authentifiers|(^|_)dsn$",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(?P<start>[a-z][a-z0-9+.-]*://[^\s/:@]*):[^\s/@]+@", re.IGNORECASE)
_SIGNED_PACKAGE = re.compile(r"""\{[^{}]*["']signed_message\\?["']""")
_BEARER = re.compile(r"(?P<start>\bbearer[ .]+|whsec_|sluice_)(?P<secret>[\w+/=-]{32,})", re.IGNORECASE | re.ASCII)
"""Keys and secrets as they stand in headers, which libraries write out word by word at level debug."""
_DEEPEST = 6
_TALKATIVE = ("alembic", "httpcore", "httpx", "websockets")
"""Libraries that tell at level info what is of use only for finding a fault in them: each request, each connection."""


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Send every log event of this process, of Sluice and of its libraries alike, to `stream` (default stderr).

    `settings.log_format` picks lines for people or one JSON object per line, `settings.log_level` the least severe.
    """
    render: list[Processor]
    if settings.log_format == "json":
        render = [structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer()]
    else:
        render = [structlog.dev.ConsoleRenderer(colors=(stream or sys.stderr).isatty(), pad_event_to=28)]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=_CHAIN,
            processors=[ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel("DEBUG" if settings.log_level == "debug" else "WARNING")
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_CHAIN, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module: `log.info("event_name", key=value)`.

    It goes through the standard library and redacts even where an application never called `configure_logging`.
    """
    return cast(
        "structlog.stdlib.BoundLogger",
        structlog.wrap_logger(
            logging.getLogger(name),
            processors=[structlog.stdlib.filter_by_level, *_CHAIN, ProcessorFormatter.wrap_for_formatter],
            wrapper_class=structlog.stdlib.BoundLogger,
            context_class=dict,
        ),
    )


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blot out secrets by the name of their key, signed packages by their shape, and passwords inside URLs."""
    return cast("EventDict", _clean_mapping(event, 0))


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, bytes):
        return _clean_text(value.decode("utf-8", "replace"))
    if isinstance(value, dict | list | tuple) and depth >= _DEEPEST:
        return REDACTED  # deeper than anything we log on purpose: not worth the risk
    if isinstance(value, dict):
        return REDACTED if "signed_message" in value else _clean_mapping(value, depth + 1)
    if isinstance(value, list | tuple):
        return [_clean(item, depth + 1) for item in value]
    return value


def _clean_mapping(mapping: Mapping[str, Any], depth: int) -> dict[str, Any]:
    return {
        name: REDACTED if _SECRET_NAME.search(str(name)) and value is not None else _clean(value, depth)
        for name, value in mapping.items()
    }


def _clean_text(text: str) -> str:
    if _SIGNED_PACKAGE.search(text):
        return REDACTED
    return _BEARER.sub(rf"\g<start>{REDACTED}", _URL_PASSWORD.sub(rf"\g<start>:{REDACTED}@", text))


_CHAIN: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    redact,
]
"""What every event passes through, ours and the libraries'. Redaction comes last, after tracebacks became text."""
