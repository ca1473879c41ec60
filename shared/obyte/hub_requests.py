"""The light client's requests, with their answers checked for shape (Obyte, light client protocol).

Nothing here is proven: what a hub answers is a hint until `history` proves it. What can be checked alone (hashes,
addresses of definitions, shapes) is checked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from shared.obyte.addresses import definition_address
from shared.obyte.chash import is_valid_address, is_valid_base64
from shared.obyte.composing import Parents, read_parents
from shared.obyte.errors import ObyteError
from shared.obyte.hub_errors import HubAnswerError, HubRequestError, JointRefusedError, RefusalKind
from shared.obyte.system_variables import SystemVariables, read_system_variables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.obyte.serialization import JsonValue

PARENTS_COMMAND = "light/get_parents_and_last_ball_and_witness_list_unit"
MAX_HISTORY_ITEMS = 2_000
"""Most addresses, and most requested joints, in one history request."""
MAX_BALANCE_ADDRESSES = 100
"""Most addresses whose balances a hub tells at once."""
MAX_RESPONSES = 100
"""Most answers of an agent that a hub lists at once."""
HASH_CHARACTERS = 44


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

    async def get_system_variables(self) -> SystemVariables:
        """Return what the network has voted on."""
        return read_system_variables(await self.request("get_system_vars"))

    async def get_last_mci(self) -> int:
        """Return the index of the newest main chain unit."""
        return _counter(await self.request("get_last_mci"), "get_last_mci", "it must be an index")

    async def get_time(self, *, witnesses: Sequence[str], address: str) -> tuple[int, str]:
        """Return the time (seconds since 1970) and the last ball's unit that a unit of the address would bear now."""
        params: JsonValue = {"witnesses": witnesses, "from_addresses": [address], "output_addresses": [address]}
        answer = await self.request(PARENTS_COMMAND, params)
        offer = answer if isinstance(answer, dict) else {}
        last_ball_unit = offer.get("last_stable_mc_ball_unit")
        if not is_valid_base64(last_ball_unit, HASH_CHARACTERS):
            raise HubAnswerError(PARENTS_COMMAND, "last_stable_mc_ball_unit must be a hash")
        timestamp_s = _counter(offer.get("timestamp"), PARENTS_COMMAND, "timestamp must be seconds since 1970")
        return timestamp_s, str(last_ball_unit)

    async def get_aa_state_vars(self, address: str) -> dict[str, JsonValue]:
        """Return the state variables of an agent as the hub has computed them."""
        answer = await self.request("light/get_aa_state_vars", {"address": address})
        if not isinstance(answer, dict):
            raise HubAnswerError("light/get_aa_state_vars", "it must be an object")
        return answer

    async def get_aa_response_units(self, address: str, min_mci: int) -> list[tuple[int, str | None]]:
        """Return up to `MAX_RESPONSES` answers of an agent from an index on, oldest first.

        Of each the index of its trigger and its unit, None when it sent none. The last index is where to go on; what
        comes twice then has to be left out.
        """
        params: JsonValue = {"aa": address, "min_mci": max(1, min_mci), "order": "ASC"}
        answer = await self.request("light/get_aa_responses", params)
        if not isinstance(answer, list) or len(answer) > MAX_RESPONSES:
            raise HubAnswerError("light/get_aa_responses", f"it must be a list of at most {MAX_RESPONSES}")
        found = []
        for response in answer:
            unit = response.get("response_unit") if isinstance(response, dict) else None
            mci = response.get("mci") if isinstance(response, dict) else None
            if unit is not None and not is_valid_base64(unit, HASH_CHARACTERS):
                raise HubAnswerError("light/get_aa_responses", "response_unit must be a hash")
            rule = "mci must be an index"
            found.append((_counter(mci, "light/get_aa_responses", rule), None if unit is None else str(unit)))
        return found

    async def get_stable_balances(self, address: str) -> dict[str, int]:
        """Return by asset (`base` or its unit) what an address has in stable coins; what it has none of is left out."""
        answer = await self.request("light/get_balances", [address])
        balances = answer.get(address, {}) if isinstance(answer, dict) else None
        if not isinstance(balances, dict):
            raise HubAnswerError("light/get_balances", "it must be an object of objects")
        stable = {
            asset: _counter(
                balance.get("stable") if isinstance(balance, dict) else None,
                "light/get_balances",
                "stable must be an amount",
            )
            for asset, balance in balances.items()
        }
        return {asset: amount for asset, amount in stable.items() if amount}

    async def count_coins(self, addresses: Sequence[str]) -> dict[str, int]:
        """Return how many coins each of up to `MAX_BALANCE_ADDRESSES` addresses has, stable or not, in all assets."""
        answer = await self.request("light/get_balances", list(addresses))
        if not isinstance(answer, dict):
            raise HubAnswerError("light/get_balances", "it must be an object")
        counts = {}
        for address in addresses:
            balances = answer.get(address, {})
            found = balances.values() if isinstance(balances, dict) else ()
            counts[address] = sum(
                _counter(balance.get(name, 0), "light/get_balances", f"{name} must be a number")
                for balance in found
                if isinstance(balance, dict)
                for name in ("stable_outputs_count", "pending_outputs_count")
            )
        return counts

    async def pick_coins(self, address: str, *, asset: str, amount: int, last_ball_mci: int) -> list[str]:
        """Return the units of coins that are worth an amount, none when there is not that much."""
        params: dict[str, JsonValue] = {
            "addresses": [address],
            "last_ball_mci": last_ball_mci,
            "amount": amount,
            "spend_unconfirmed": "none",
        }
        if asset != "base":
            params["asset"] = asset
        answer = await self.request("light/pick_divisible_coins_for_amount", params)
        picked = answer.get("inputs_with_proofs") if isinstance(answer, dict) else None
        units = set()
        for entry in picked if isinstance(picked, list) else [None]:
            spent = entry.get("input") if isinstance(entry, dict) else None
            if isinstance(spent, dict) and "type" in spent:
                continue  # commissions that the address has earned: in no unit of its own
            unit = spent.get("unit") if isinstance(spent, dict) else None
            if not is_valid_base64(unit, HASH_CHARACTERS):
                raise HubAnswerError("light/pick_divisible_coins_for_amount", "it must list the units of coins")
            units.add(str(unit))
        return sorted(units)

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


def _counter(value: JsonValue, command: str, rule: str) -> int:
    if type(value) is not int or value < 0:
        raise HubAnswerError(command, rule)
    return value


def _texts(value: JsonValue) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(item if isinstance(item, str) else "" for item in value)
