"""The light client's requests, with their answers checked for shape (Obyte, light client protocol).

Nothing here is proven: what a hub answers is a hint until `history` proves it. What can be checked alone (hashes,
addresses of definitions, shapes) is checked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from shared.obyte.addresses import definition_address
from shared.obyte.chash import is_valid_address
from shared.obyte.composing import Parents, read_parents
from shared.obyte.errors import ObyteError
from shared.obyte.hub_errors import HubAnswerError, HubRequestError, JointRefusedError, RefusalKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.obyte.serialization import JsonValue

PARENTS_COMMAND = "light/get_parents_and_last_ball_and_witness_list_unit"
MAX_HISTORY_ITEMS = 2_000
"""Most addresses, and most requested joints, in one history request."""


class LightRequests(ABC):
    """Requests on top of `request`. All of them raise HubError; `bad_answer` when the answer has the wrong shape."""

    @abstractmethod
    async def request(self, command: str, params: JsonValue = None, *, timeout_s: float | None = None) -> JsonValue:
        """Ask the hub and return its answer."""

    @abstractmethod
    async def justsaying(self, subject: str, body: JsonValue = None) -> None:
        """Tell the hub something that has no answer."""

    async def get_witnesses(self) -> tuple[str, ...]:
        """Return the hub's list of order providers, sorted. Pin it: it is the trust anchor of history proofs."""
        answer = await self.request("get_witnesses")
        witnesses = _texts(answer)
        if not witnesses or list(witnesses) != sorted(set(witnesses)) or not all(map(is_valid_address, witnesses)):
            raise HubAnswerError("get_witnesses", "it must be a sorted list of addresses")
        return witnesses

    async def get_parents(
        self,
        *,
        witnesses: Sequence[str],
        from_addresses: Sequence[str],
        output_addresses: Sequence[str],
        now_s: float,
        max_aa_responses: int | None = None,
        last_seen_mci: int = 0,
    ) -> Parents:
        """Ask where a unit from `from_addresses` to `output_addresses` (change included) should attach.

        `now_s` is our wall clock. Raises also CompositionError `bad_parents`.
        """
        params: dict[str, JsonValue] = {
            "witnesses": witnesses,
            "from_addresses": from_addresses,
            "output_addresses": output_addresses,
        }
        if max_aa_responses is not None:
            params["max_aa_responses"] = max_aa_responses
        answer = await self.request(PARENTS_COMMAND, params)
        return read_parents(answer, now_s=now_s, last_seen_mci=last_seen_mci)

    async def get_history(
        self,
        *,
        witnesses: Sequence[str],
        addresses: Sequence[str] = (),
        requested_joints: Sequence[str] = (),
        known_stable_units: Sequence[str] = (),
        min_mci: int | None = None,
    ) -> JsonValue:
        """Return the unproven history of addresses and units, for `history.prove_history`; it also watches them.

        Empty lists are left out of the request. With `min_mci` only units from that index on are told of.
        """
        params: dict[str, JsonValue] = {"witnesses": witnesses}
        for name, values in (
            ("addresses", addresses),
            ("requested_joints", requested_joints),
            ("known_stable_units", known_stable_units),
        ):
            if values:
                params[name] = values[:MAX_HISTORY_ITEMS]
        if min_mci is not None:
            params["min_mci"] = min_mci
        return await self.request("light/get_history", params)

    async def watch_address(self, address: str) -> None:
        """Be told of new units that touch the address, as long as this connection lives."""
        await self.justsaying("light/new_address_to_watch", address)

    async def get_definition(self, address: str) -> JsonValue:
        """Return the definition of an address, None when the hub knows none."""
        definition = await self.request("light/get_definition", address)
        if definition is None:
            return None
        try:
            is_right = definition_address(definition) == address
        except ObyteError:
            is_right = False
        if not is_right:
            raise HubAnswerError("light/get_definition", "the definition must have the address asked for")
        return definition

    async def get_joint(self, unit_hash: str) -> dict[str, JsonValue] | None:
        """Return the unit (as the hub sent it, to be checked with `history.check_unit`), None when not found."""
        answer = await self.request("get_joint", unit_hash)
        joint = answer.get("joint") if isinstance(answer, dict) else None
        unit = joint.get("unit") if isinstance(joint, dict) else None
        if isinstance(unit, dict) and unit.get("unit") == unit_hash:
            return dict(unit)
        if isinstance(answer, dict) and answer.get("joint_not_found") == unit_hash:
            return None
        raise HubAnswerError("get_joint", "it must be the joint asked for or joint_not_found")

    async def post_joint(self, joint: JsonValue) -> None:
        """Post a unit; returns when the hub has it, now or already before.

        Raises JointRefusedError. After HubTimeoutError or HubClosedError the unit may have been accepted: look for it
        by its hash, or post the same joint again, before composing another.
        """
        try:
            answer = await self.request("post_joint", joint)
        except HubRequestError as error:
            if error.hub_text == "known":
                return
            raise JointRefusedError(error.hub_text, refusal_kind(error.hub_text)) from None
        if answer != "accepted":
            raise HubAnswerError("post_joint", "it must be accepted or an error")


def refusal_kind(hub_text: str) -> RefusalKind:
    """Tell from the hub's error text what can be done about a refused unit."""
    text = hub_text.lower()
    if "already handling" in text:
        return "in_work"
    if "non-serial" in text or "nonserial" in text or "double spend" in text or "double-spend" in text:
        return "double_spend"
    # A definition is a duplicate once the unit that carried it first has become stable.
    if "unknown parents" in text or "last ball" in text or "tps" in text or "duplicate definition" in text:
        return "recompose"
    return "refused"


def _texts(value: JsonValue) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(item if isinstance(item, str) else "" for item in value)
