"""The requests of light clients that read the ledger, by command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from devnet import agent_queries, queries
from devnet.ledger import Ledger
from shared.obyte.serialization import JsonValue

Command: TypeAlias = Callable[[Ledger, Any], JsonValue]
"""(ledger, params as they came) -> the answer; raises QueryError."""

COMMANDS: dict[str, Command] = {
    "get_witnesses": queries.get_witnesses,
    "get_last_mci": queries.get_last_mci,
    "get_last_stable_unit_props": queries.get_last_stable_unit_props,
    "get_system_vars": queries.get_system_vars,
    "get_joint": queries.get_joint,
    "light/get_history": queries.get_history,
    "light/get_parents_and_last_ball_and_witness_list_unit": queries.get_parents,
    "light/get_definition": queries.get_definition,
    "light/get_definition_for_address": queries.get_definition_for_address,
    "light/get_definition_chash": queries.get_definition_chash,
    "light/get_balances": queries.get_balances,
    "light/get_aa_balances": agent_queries.get_aa_balances,
    "light/get_aa_state_vars": agent_queries.get_aa_state_vars,
    "light/dry_run_aa": agent_queries.dry_run_aa,
    "light/get_aa_responses": agent_queries.get_aa_responses,
    "light/get_aa_response_chain": agent_queries.get_aa_response_chain,
    "light/pick_divisible_coins_for_amount": queries.pick_divisible_coins,
}
