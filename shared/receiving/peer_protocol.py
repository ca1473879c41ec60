"""The reference peer protocol without a wire: requests in, answers out (Obyte channels, peer protocol).

A request is `{command, params, tag?, timestamp?, url?}`, an answer `{"response": …}` or `{"error": "…"}`. Members that
the reference does not know (`code`, `receipt`, `channel`, `agent_versions`) are added beside these. The HTTP door and
the worker's messenger bring requests here and carry the answers away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.receiving.errors import ChannelRefused, ReceivingError
from shared.receiving.outcomes import Refusal
from shared.receiving.plain_payments import read_plain_payment
from shared.strict_json import decode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.receiving.receiver import Paid, Receiver
    from shared.strict_json import JsonValue

_ENVELOPE = frozenset({"command", "params", "tag", "timestamp", "url"})
_LONGEST_NAME = 40


class MalformedRequestError(ReceivingError):
    """This is no request at all: the reference does not answer it. Codes: `not_an_object`, `unknown_command`."""


@dataclass(frozen=True, slots=True)
class PeerRequest:
    """A command that we know, with its parameters, which may still be wrong."""

    command: str
    params: dict[str, Any] = field(repr=False)


def read_request(envelope: JsonValue, *, now_s: float, max_age_s: float) -> PeerRequest:
    """Check the envelope; `now_s` by our clock, `max_age_s` for requests that say when they were made.

    Raises MalformedRequestError, and ReceivingError (`unknown_field`, `invalid_timestamp`, `timestamp_too_old`,
    `no_params`).
    """
    if not isinstance(envelope, dict):
        raise MalformedRequestError("not_an_object", "the body should be a JSON object")
    command = envelope.get("command")
    if not isinstance(command, str) or command not in _COMMANDS:
        raise MalformedRequestError("unknown_command", f"command should be {', '.join(_COMMANDS)}")
    _check_fields(envelope, _ENVELOPE)
    if "timestamp" in envelope:
        _check_age(envelope["timestamp"], now_s=now_s, max_age_s=max_age_s)
    params = envelope.get("params")
    if not isinstance(params, dict):
        raise ReceivingError("no_params", "No params")
    return PeerRequest(command, params)


async def serve(receiver: Receiver, request: PeerRequest, origin: str | None = None) -> dict[str, Any]:
    """Carry a request out and return the answer. `origin`: the network address that it comes from.

    Raises ReceivingError for a refusal, UnavailableError for "not now".
    """
    try:
        return await _COMMANDS[request.command](receiver, request.params, origin)
    except ChannelRefused as refusal:
        if refusal.agent_versions is None:
            raise
        return error_answer(refusal.code, refusal.text) | {"agent_versions": list(refusal.agent_versions)}


async def serve_body(
    receiver: Receiver, raw: bytes, origin: str | None = None, *, now_s: float, max_age_s: float
) -> dict[str, Any]:
    """Read a request from its bytes and carry it out: `decode`, `read_request` and `serve`, and raises as these do."""
    plain = read_plain_payment(raw, receiver.network)
    if plain is None:
        return await serve(receiver, read_request(decode(raw), now_s=now_s, max_age_s=max_age_s), origin)
    if plain.timestamp_ms is not None:
        _check_age(plain.timestamp_ms, now_s=now_s, max_age_s=max_age_s)
    return _paid(await receiver.pay_plain(plain, origin))


def error_answer(code: str, text: str) -> dict[str, Any]:
    """Return the answer for an error."""
    return {"error": text, "code": code}


async def _create_channel(receiver: Receiver, params: dict[str, Any], origin: str | None) -> dict[str, Any]:
    created = await receiver.create_channel(params, origin)
    return {"response": {"address_a": created.own_address, "aa_address": created.aa_address}}


async def _is_ready(receiver: Receiver, params: dict[str, Any], origin: str | None) -> dict[str, Any]:
    _check_fields(params, {"aa_address"})
    await receiver.check_ready(params.get("aa_address"), origin)
    return {"response": True}


async def _pay(receiver: Receiver, params: dict[str, Any], origin: str | None) -> dict[str, Any]:
    _check_fields(params, {"signed_package", "message"})
    package = params.get("signed_package")
    if package is None:
        raise ReceivingError("no_signed_package", "No signed_package")
    return _paid(await receiver.pay(package, params.get("message"), origin))


def _paid(outcome: Paid | Refusal) -> dict[str, Any]:
    if isinstance(outcome, Refusal):
        view = {} if outcome.channel is None else {"channel": outcome.channel.as_json()}
        return error_answer(outcome.code, outcome.text) | view
    code = {} if outcome.answer.code is None else {"code": outcome.answer.code}
    return {"response": outcome.answer.response, "receipt": outcome.receipt.as_json()} | code


_COMMANDS: dict[str, Callable[[Receiver, dict[str, Any], str | None], Awaitable[dict[str, Any]]]] = {
    "create_channel": _create_channel,
    "is_ready": _is_ready,
    "pay": _pay,
}


def _check_age(timestamp_ms: JsonValue, *, now_s: float, max_age_s: float) -> None:
    if isinstance(timestamp_ms, bool) or not isinstance(timestamp_ms, int | float):
        raise ReceivingError("invalid_timestamp", "timestamp should be a number of milliseconds")
    if timestamp_ms < (now_s - max_age_s) * 1000:
        raise ReceivingError("timestamp_too_old", "Timestamp too old, check system time")


def _check_fields(members: dict[str, Any], allowed: set[str] | frozenset[str]) -> None:
    for name in members:
        if name not in allowed:
            raise ReceivingError("unknown_field", f"unknown field {name[:_LONGEST_NAME]!r}")
