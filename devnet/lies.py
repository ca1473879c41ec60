"""Lies a hub can tell, each a forgery that a light client has to notice or survive.

A lie takes the true answer to one command and returns the false one. `LIES` names them all with their command; tell
one with `Faults.lie(*LIES[name])`, or by the private request `devnet/lie`. What there is nothing to forge in, an empty
history for one, passes unchanged.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from devnet.faults import GET_PARENTS
from shared.obyte.networks import DEVNET
from shared.obyte.units import payload_hash, unit_hash

if TYPE_CHECKING:
    from devnet.faults import Lie

_HISTORY = "light/get_history"
_NOBODY = "ZQFHJXFWT2OCEBXF26GFXJU4MPASWPJT"


def forged_ball(history: Any) -> Any:
    """Change the hash of the first ball in the chain of balls."""
    for ball in history.get("proofchain_balls", ())[:1]:
        ball["ball"] = _other_hash(ball["ball"])
    return history


def forged_parent_ball(history: Any) -> Any:
    """Let the first ball in the chain rest on one that is not below it."""
    for ball in history.get("proofchain_balls", ())[:1]:
        ball["parent_balls"] = [_other_hash(ball["parent_balls"][0])] if "parent_balls" in ball else [ball["ball"]]
    return history


def serial_again(history: Any) -> Any:
    """Turn every ball over: void units pass for good ones and good ones for void ones."""
    for ball in history.get("proofchain_balls", ()):
        if not ball.pop("is_nonserial", False):
            ball["is_nonserial"] = True
    return history


def without_balls(history: Any) -> Any:
    """Leave out the chain of balls: nothing is proven any more."""
    history.pop("proofchain_balls", None)
    return history


def broken_chain(history: Any) -> Any:
    """Leave out the first ball of the chain, so that nothing vouches for the rest."""
    history["proofchain_balls"] = history.get("proofchain_balls", [])[1:]
    if not history["proofchain_balls"]:
        del history["proofchain_balls"]
    return history


def forged_hash(history: Any) -> Any:
    """Give the first unit another hash than its content has."""
    for joint in history.get("joints", ())[:1]:
        joint["unit"]["unit"] = _other_hash(joint["unit"]["unit"])
    return history


def forged_amount(history: Any) -> Any:
    """Add to a payment without touching any hash."""
    for output in _first_outputs(history)[:1]:
        output["amount"] += 1_000_000
    return history


def rehashed_amount(history: Any) -> Any:
    """Add to a payment and make all hashes fit: another unit, with a signature of the first one."""
    for output in _first_outputs(history)[:1]:
        output["amount"] += 1_000_000
        _rehash(next(joint["unit"] for joint in history["joints"] if _payments(joint["unit"])))
    return history


def forged_agent_data(history: Any) -> Any:
    """Let an agent say something else, in units whose hashes fit: they are not the network's."""
    for joint in history.get("joints", ()):
        unit = joint["unit"]
        if "authentifiers" not in unit["authors"][0]:
            for message in unit.get("messages", ()):
                if message["app"] == "data" and "event_id" in message["payload"]:
                    message["payload"]["event_id"] += 1
            _rehash(unit)
    return history


def forged_provider(history: Any) -> Any:
    """Sign the newest main chain unit with nobody's key."""
    for joint in history.get("unstable_mc_joints", ())[:1]:
        joint["unit"]["authors"][0]["authentifiers"]["r"] = _nobodys_signature()
        _rehash(joint["unit"])
    return history


def forged_anchor(history: Any) -> Any:
    """Let the main chain's newest unit vouch for a ball that does not exist."""
    for joint in history.get("unstable_mc_joints", ())[:1]:
        joint["unit"]["last_ball"] = _other_hash(joint["unit"]["last_ball"])
        _rehash(joint["unit"])
    return history


def without_providers(history: Any) -> Any:
    """Leave out the main chain: nobody vouches for anything."""
    history["unstable_mc_joints"] = []
    return history


def shuffled_units(history: Any) -> Any:
    """Tell the oldest units first, and the agents' answers in the wrong order."""
    for name in ("joints", "aa_responses"):
        history.get(name, []).reverse()
    return history


def forged_responses(history: Any) -> Any:
    """Say of every trigger that bounced that it did not, and the other way round."""
    for response in history.get("aa_responses", ()):
        response["bounced"] = 1 - response["bounced"]
        response["response"] = '{"error":"invented"}' if response["bounced"] else "{}"
    return history


def without_responses(history: Any) -> Any:
    """Tell of no agent's answer."""
    history.pop("aa_responses", None)
    return history


def invented_unit(history: Any) -> Any:
    """Add a unit that nobody signed: the first payment once more, under another hash."""
    original = next((joint["unit"] for joint in history.get("joints", ()) if _payments(joint["unit"])), None)
    if original is not None and "authentifiers" in original["authors"][0]:
        authors = [author | {"authentifiers": {"r": _nobodys_signature()}} for author in original["authors"]]
        unit = original | {"authors": authors, "main_chain_index": None}
        _rehash(unit)
        history["joints"].append({"unit": unit})
    return history


def other_providers(_providers: Any) -> Any:
    """Name another order provider."""
    return [_NOBODY]


def parents_of_the_past(offer: Any) -> Any:
    """Offer parents with a timestamp an hour old."""
    return offer | {"timestamp": offer["timestamp"] - 3_600}


def malformed_parents(offer: Any) -> Any:
    """Offer parents that are no hashes."""
    return offer | {"parent_units": ["x"]}


def retreating_last_ball(offer: Any) -> Any:
    """Offer a last ball far below the one that was."""
    return offer | {"last_stable_mc_ball_mci": 0}


def other_definition(_definition: Any) -> Any:
    """Return a definition that does not give the address asked for."""
    return ["sig", {"pubkey": "A" * 44}]


def nothing(_answer: Any) -> Any:
    """Say that there is nothing."""
    return {}


def not_found(_answer: Any) -> Any:
    """Say that there is no such unit."""
    return {"joint_not_found": "A" * 43 + "="}


def nonsense(_answer: Any) -> Any:
    """Answer with something that has nothing to do with the question."""
    return ["nonsense", {"nonsense": None}, 0]


LIES: dict[str, tuple[str, Lie]] = {
    **{
        lie.__name__: (_HISTORY, lie)
        for lie in (
            forged_ball,
            forged_parent_ball,
            serial_again,
            without_balls,
            broken_chain,
            forged_hash,
            forged_amount,
            rehashed_amount,
            forged_agent_data,
            forged_provider,
            forged_anchor,
            without_providers,
            shuffled_units,
            forged_responses,
            without_responses,
            invented_unit,
            nothing,
            nonsense,
        )
    },
    "other_providers": ("get_witnesses", other_providers),
    "parents_of_the_past": (GET_PARENTS, parents_of_the_past),
    "malformed_parents": (GET_PARENTS, malformed_parents),
    "retreating_last_ball": (GET_PARENTS, retreating_last_ball),
    "other_definition": ("light/get_definition", other_definition),
    "not_found": ("get_joint", not_found),
}


def _payments(unit: Any) -> list[Any]:
    return [message["payload"] for message in unit.get("messages", ()) if message["app"] == "payment"]


def _first_outputs(history: Any) -> list[Any]:
    units = (joint["unit"] for joint in history.get("joints", ()))
    return next((payment["outputs"] for unit in units for payment in _payments(unit)), [])


def _rehash(unit: Any) -> None:
    for message in unit.get("messages", ()):
        message["payload_hash"] = payload_hash(message["payload"])
    hashed = {key: value for key, value in unit.items() if key not in {"main_chain_index", "actual_tps_fee", "unit"}}
    unit["unit"] = unit_hash(hashed, DEVNET)


def _other_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _nobodys_signature() -> str:
    return base64.b64encode(bytes([1] * 64)).decode()
