"""What a peer's answer says (Obyte channels, peer protocol): `{"response": …}` or `{"error": …}`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.obyte.serialization import JsonValue

MAX_ERROR_TEXT = 500
MAX_CODE = 64
MAX_VERSIONS = 16
MAX_DEPTH = 32
"""An answer nested deeper has no meaning here, and might not be written down again as it was read."""


@dataclass(frozen=True, slots=True)
class ChannelView:
    """The receiver's view of a channel: what it has recorded of the payer's packages in the current period."""

    period: int
    amount_spent: int
    credit: int
    status: str


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """What the peer said. When `error` is set it refused; `code` is stable if the peer is one that gives codes.

    Beside a response `application_failed` says that the payment was taken and the peer's application has not answered.
    """

    response: JsonValue = field(default=None, repr=False)
    error: str | None = None
    code: str | None = None
    view: ChannelView | None = None
    agent_versions: tuple[str, ...] | None = None
    receipt: Mapping[str, JsonValue] | None = field(default=None, repr=False)


def read_answer(answer: JsonValue) -> PeerAnswer | None:
    """Read an answer's body; None when it is neither a response nor an error.

    What is kept as text is printable: a peer must not be able to write what no database stores, or steer a terminal.
    """
    if not isinstance(answer, dict) or _is_too_deep(answer):
        return None
    error, code = answer.get("error"), answer.get("code")
    code = _printable(code[:MAX_CODE]) if isinstance(code, str) else None
    if error:
        return PeerAnswer(
            error=_printable((error if isinstance(error, str) else json.dumps(error))[:MAX_ERROR_TEXT]),
            code=code,
            view=_view(answer.get("channel")),
            agent_versions=_versions(answer.get("agent_versions")),
        )
    if "response" not in answer:
        return None
    receipt = answer.get("receipt")
    return PeerAnswer(response=answer["response"], code=code, receipt=receipt if isinstance(receipt, dict) else None)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _is_too_deep(value: JsonValue) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return any(isinstance(value, dict | list) for value in level)


def _versions(value: JsonValue) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(version for version in value[:MAX_VERSIONS] if isinstance(version, str))


def _view(value: JsonValue) -> ChannelView | None:
    if not isinstance(value, dict):
        return None
    period, spent, credit = value.get("period"), value.get("amount_spent"), value.get("credit")
    if not (isinstance(period, int) and isinstance(spent, int) and isinstance(credit, int)):
        return None
    return ChannelView(period, spent, credit, str(value.get("status", "")))
