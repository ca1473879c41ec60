"""Private requests that make a hub or its ledger misbehave, for tests that run in another process.

Faults and conditions are those of the hub asked; what concerns the ledger, all hubs see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devnet.lies import LIES
from devnet.request_fields import QueryError, object_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from devnet.faults import Faults
    from devnet.hub import Hub
    from shared.obyte.serialization import JsonValue

MAX_UNITS_AT_ONCE = 1_000
_KINDS = ("refuse", "deny", "lose", "drop", "delay")


def pause(hub: Hub, _params: Any) -> JsonValue:
    """No params: the order provider posts nothing more by itself, so nothing becomes stable."""
    hub.ledger.pause()
    return {"is_paused": True}


def resume(hub: Hub, _params: Any) -> JsonValue:
    """No params: let it post again."""
    hub.ledger.resume()
    return {"is_paused": False}


def advance(hub: Hub, params: Any) -> JsonValue:
    """`{units?}`: let the order provider post so many units now, paused or not."""
    units = params.get("units", 1) if isinstance(params, dict) else 1
    if type(units) is not int or not 1 <= units <= MAX_UNITS_AT_ONCE:
        raise QueryError(f"units must be an integer from 1 to {MAX_UNITS_AT_ONCE}")
    for _ in range(units):
        hub.ledger.advance()
    return {"last_stable_mci": hub.ledger.state.last_stable_mci}


def vote(hub: Hub, params: Any) -> JsonValue:
    """`{subject, value}`: change threshold_size, base_tps_fee, tps_interval or tps_fee_multiplier."""
    request = object_of(params, "no params in devnet/vote")
    value = request.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise QueryError("value must be a number")
    try:
        hub.ledger.vote(str(request.get("subject")), value)
    except ValueError as error:
        raise QueryError(str(error)) from None
    return hub.ledger.state.votes.as_json()


def post(hub: Hub, params: Any) -> JsonValue:
    """A joint `{unit}`: take it even if it is in conflict with another one of its author."""
    return {"sequence": hub.ledger.post(params, with_conflicts=True).sequence}


def prefer(hub: Hub, params: Any) -> JsonValue:
    """`{unit}`: let this unit in conflict win over those seen before it."""
    return _reorganise(hub.ledger.prefer, params)


def forget(hub: Hub, params: Any) -> JsonValue:
    """`{unit}`: let a unit that is on no main chain yet vanish from the ledger."""
    return _reorganise(hub.ledger.forget, params)


def recreate(hub: Hub, params: Any) -> JsonValue:
    """`{unit}`: let an agent's unstable answer be made anew, under another hash."""
    return {"unit": _reorganise(lambda unit: hub.ledger.recreate(unit).hash, params)}


def fault(hub: Hub, params: Any) -> JsonValue:
    """`{command, kind, text?, delay_s?, times?}`: refuse, deny, lose, drop or delay the next answers to a command."""
    request = object_of(params, "no params in devnet/fault")
    command, kind = request.get("command"), request.get("kind")
    text, delay_s = request.get("text", "not now"), request.get("delay_s", 1)
    if not isinstance(command, str) or kind not in _KINDS or not isinstance(text, str):
        raise QueryError(f"command must be a string, kind one of {', '.join(_KINDS)}, text a string")
    _check_number("delay_s", delay_s)
    times, faults = _times(request), hub.faults
    order: dict[str, Callable[[], None]] = {
        "refuse": lambda: faults.refuse(command, text, times=times),
        "deny": lambda: faults.deny(command, text, times=times),
        "lose": lambda: faults.lose_answer(command, times=times),
        "drop": lambda: faults.drop_connection_after(command, times=times),
        "delay": lambda: faults.delay_answer(command, delay_s, times=times),
    }
    order[str(kind)]()
    return "ordered"


def lie(hub: Hub, params: Any) -> JsonValue:
    """`{name, times?}`: answer falsely; the names are those of `devnet/lies.py`."""
    request = object_of(params, "no params in devnet/lie")
    if request.get("name") not in LIES:
        raise QueryError(f"the lies are {', '.join(LIES)}")
    hub.faults.lie(*LIES[request["name"]], times=_times(request))
    return "ordered"


def condition(hub: Hub, params: Any) -> JsonValue:
    """`{name: value, …}`: set conditions, such as hidden, muted, is_silent; all are listed in `devnet/faults.py`."""
    request = object_of(params, "no params in devnet/condition")
    for name, value in request.items():
        if name not in _CONDITIONS:
            raise QueryError(f"the conditions are {', '.join(_CONDITIONS)}")
        _CONDITIONS[name](hub.faults, name, value)
    if "claimed_vars" in request:
        hub.repeat_system_vars()
    return "set"


def honest(hub: Hub, _params: Any) -> JsonValue:
    """No params: take back all faults and conditions, tell the news that were held back."""
    hub.faults.clear()
    hub.release_news()
    return "honest"


def hold_news(hub: Hub, _params: Any) -> JsonValue:
    """No params: keep news of the ledger back."""
    hub.hold_news()
    return "held"


def release_news(hub: Hub, params: Any) -> JsonValue:
    """`{is_reversed?}`: tell the news held back, the latest first if so."""
    is_reversed = isinstance(params, dict) and params.get("is_reversed") is True
    hub.release_news(lambda news: news[::-1] if is_reversed else news)
    return "released"


def kill_connections(hub: Hub, params: Any) -> JsonValue:
    """`{frames, mid_frame?, connections?}`: the next connections die after so many more frames."""
    request = object_of(params, "no params in devnet/kill_connections")
    frames, connections = request.get("frames"), request.get("connections", 1)
    if type(frames) is not int or frames < 0 or type(connections) is not int or connections < 1:
        raise QueryError("frames must be an integer of at least 0, connections one of at least 1")
    hub.faults.kill_connections(frames, mid_frame=request.get("mid_frame") is True, connections=connections)
    return "ordered"


def drop_connections(hub: Hub, _params: Any) -> JsonValue:
    """No params: cut every connection, this one too."""
    hub.drop_connections()
    return "dropped"


def say(hub: Hub, params: Any) -> JsonValue:
    """`{subject, body?}`: tell every client something, such as `upgrade_required` or an `error`."""
    request = object_of(params, "no params in devnet/say")
    if not isinstance(request.get("subject"), str):
        raise QueryError("subject must be a string")
    hub.say(request["subject"], request.get("body"))
    return "said"


def send_raw(hub: Hub, params: Any) -> JsonValue:
    """`{frame}`: send every client a text frame of any content."""
    frame = object_of(params, "no params in devnet/send_raw").get("frame")
    if not isinstance(frame, str):
        raise QueryError("frame must be a string")
    hub.send_raw(frame)
    return "sent"


CONTROLS: dict[str, Callable[[Hub, Any], JsonValue]] = {
    "devnet/pause": pause,
    "devnet/resume": resume,
    "devnet/advance": advance,
    "devnet/vote": vote,
    "devnet/post": post,
    "devnet/prefer": prefer,
    "devnet/forget": forget,
    "devnet/recreate": recreate,
    "devnet/fault": fault,
    "devnet/lie": lie,
    "devnet/condition": condition,
    "devnet/honest": honest,
    "devnet/hold_news": hold_news,
    "devnet/release_news": release_news,
    "devnet/kill_connections": kill_connections,
    "devnet/drop_connections": drop_connections,
    "devnet/say": say,
    "devnet/send_raw": send_raw,
}


def _reorganise(change: Callable[[str], JsonValue], params: Any) -> JsonValue:
    unit = object_of(params, "no unit given").get("unit")
    if not isinstance(unit, str):
        raise QueryError("unit must be a string")
    try:
        return change(unit) or unit
    except ValueError as error:
        raise QueryError(str(error)) from None


def _times(request: dict[str, Any]) -> int | None:
    times = request.get("times", 1)
    if times is not None and (type(times) is not int or times < 1):
        raise QueryError("times must be an integer of at least 1, or null for ever")
    return times


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise QueryError(f"{name} must be a number")


def _set_flag(faults: Faults, name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise QueryError(f"{name} must be true or false")
    setattr(faults, name, value)


def _set_number(faults: Faults, name: str, value: Any) -> None:
    _check_number(name, value)
    setattr(faults, name, value)


def _set_integer_or_nothing(faults: Faults, name: str, value: Any) -> None:
    if value is not None and type(value) is not int:
        raise QueryError(f"{name} must be an integer or null")
    setattr(faults, name, value)


def _set_texts(faults: Faults, name: str, value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise QueryError(f"{name} must be an array of strings")
    setattr(faults, name, type(getattr(faults, name))(value))


def _set_vars(faults: Faults, name: str, value: Any) -> None:
    if not isinstance(value, dict) or not value.keys() <= _SUBJECTS:
        raise QueryError(f"{name} must be an object with some of {', '.join(sorted(_SUBJECTS))}")
    setattr(faults, name, value)


_SUBJECTS = {"op_list", "threshold_size", "base_tps_fee", "tps_interval", "tps_fee_multiplier"}
_CONDITIONS: dict[str, Callable[[Faults, str, Any], None]] = {
    "hidden": _set_texts,
    "muted": _set_texts,
    "greeting": _set_texts,
    "is_silent": _set_flag,
    "ignores_heartbeats": _set_flag,
    "answer_delay_s": _set_number,
    "clock_offset_s": _set_number,
    "quoted_tps_fee": _set_integer_or_nothing,
    "knows_until_mci": _set_integer_or_nothing,
    "claimed_vars": _set_vars,
}
