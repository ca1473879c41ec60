"""A way to break every rule of the auditor, by hand and past all constraints.

`sql` does the damage; `shown` is a part of the row that has to be found.
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.integration.audit.books import GIVEN_UP, PAID_CHANNEL, RECEIVING, REQUEST, ROBBER, joint, unit

_PAYMENT = "INSERT INTO payments (aa_address, period, amount_spent, payment_amount, asset"


@dataclass(frozen=True)
class Damage:
    """What breaks a rule, and what must be told of it."""

    sql: str
    shown: dict[str, Any]


def _claim(package: dict[str, Any]) -> str:
    return f"UPDATE channels SET claim = $${json.dumps(package)}$$ WHERE aa_address = '{RECEIVING.channel}'"


def _channel(change: str, address: str = RECEIVING.channel) -> str:
    return f"UPDATE channels SET {change} WHERE aa_address = '{address}'"


_OF_RECEIVING = {"aa_address": RECEIVING.channel}
_OF_PAID = {"aa_address": PAID_CHANNEL}
_OF_ROBBER = {"aa_address": ROBBER.channel}

DAMAGES: dict[str, Damage] = {
    "payments_add_up": Damage(_channel("credit = 49"), {**_OF_RECEIVING, "credit": 49, "paid": 250}),
    "spent_is_highest_signed": Damage(
        _channel("spent_by_peer = 310, credit = 60"), {**_OF_RECEIVING, "spent_by_peer": 310, "highest_signed": 300}
    ),
    "credit_was_signed": Damage(
        f"{_PAYMENT}) VALUES ('{PAID_CHANNEL}', 1, 900, 900, 'base')",
        {**_OF_PAID, "period": 1, "paid": 1900, "highest_signed": 1000},
    ),
    "payment_credited_once": Damage(
        f"ALTER TABLE payments DROP CONSTRAINT payments_credited_once; {_PAYMENT}) VALUES"
        f" ('{RECEIVING.channel}', 1, 250, 100, 'base')",
        {**_OF_RECEIVING, "amount_spent": 250, "payment_amount": 100, "times": 2},
    ),
    "payment_fits_its_channel": Damage(
        f"{_PAYMENT}) VALUES ('{RECEIVING.channel}', 2, 5, 5, 'base')", {**_OF_RECEIVING, "period": 2}
    ),
    "archived_period_is_finished": Damage(
        "UPDATE payments_archive SET period = 2", {**_OF_PAID, "period": 2, "period_of_channel": 2}
    ),
    "archive_adds_up": Damage(
        "UPDATE payments_by_month SET amount = 999", {**_OF_PAID, "amount": 999, "amount_found": 1000}
    ),
    "unconfirmed_within_limit": Damage(
        _channel("spent_by_peer = 1300, credit = 1050"), {**_OF_RECEIVING, "unconfirmed_used": 1100}
    ),
    "unconfirmed_of_asset_within_limit": Damage(
        _channel("spent_by_peer = 1300, credit = 1050"), {"asset": "base", "max_by_asset": 1000}
    ),
    "sent_payments_add_up": Damage(
        _channel("spent_by_me = 600", PAID_CHANNEL), {**_OF_PAID, "spent_by_me": 600, "signed": 700}
    ),
    "sent_payments_follow_each_other": Damage(
        "UPDATE sent_payments SET payment_amount = 499 WHERE amount_spent = 700",
        {**_OF_PAID, "amount_spent": 700, "so_far": 699},
    ),
    "own_spending_is_covered": Damage(
        _channel("spent_by_me = 600001", PAID_CHANNEL), {**_OF_PAID, "spent_by_me": 600_001, "ordered": 100_000}
    ),
    "sent_payment_is_its_commands": Damage(
        "UPDATE sent_payments SET command_id = 3 WHERE amount_spent = 700", {**_OF_PAID, "kind": "deposit"}
    ),
    "channel_is_ours": Damage(_channel(f"own_address = '{'M' * 32}'"), {**_OF_RECEIVING, "own_address": "M" * 32}),
    "events_have_no_gap": Damage(
        f"DELETE FROM ledger_events WHERE aa_address = '{PAID_CHANNEL}' AND event_id = 2",
        {**_OF_PAID, "last_event_id": 4, "recorded": 3},
    ),
    "status_follows_events": Damage(
        _channel("status = 'closing_initiated_by_me', close_started_at_s = 1"),
        {**_OF_RECEIVING, "last_event": "opened"},
    ),
    "balances_follow_events": Damage(
        _channel("deposited_by_peer = 201"), {**_OF_RECEIVING, "deposited_by_peer": 201, "agent_of_peer": 200}
    ),
    "periods_follow_each_other": Damage(
        f"UPDATE ledger_events SET period = 3 WHERE aa_address = '{PAID_CHANNEL}' AND event_id = 4",
        {**_OF_PAID, "event_id": 4, "period": 3, "before": 1},
    ),
    "deposit_is_as_the_agent_answered": Damage(
        f"UPDATE deposits SET state = 'refused' WHERE unit = '{unit('deposit-2')}'",
        {**_OF_PAID, "unit": unit("deposit-2"), "agent_said": "opened"},
    ),
    "own_deposits_arrived": Damage(
        f"UPDATE deposits SET amount = 500001 WHERE unit = '{unit('deposit-2')}'",
        {**_OF_PAID, "deposits_taken": 500_001},
    ),
    "closing_claims_everything": Damage(
        f"{_PAYMENT}) VALUES ('{PAID_CHANNEL}', 1, 1001, 1, 'base')",
        {**_OF_PAID, "unit": unit("close-1"), "highest_signed": 1001, "claimed": "1000"},
    ),
    "lies_are_not_confirmed": Damage(
        f"{_PAYMENT}) VALUES ('{ROBBER.channel}', 1, 90, 5, 'base')",
        {**_OF_ROBBER, "unit": unit("confirm-1"), "highest_signed": 90, "claimed": "80"},
    ),
    "at_risk_within_limit": Damage(
        _channel("deposited_by_me = 2000000000000", PAID_CHANNEL), {**_OF_PAID, "max_by_channel": 10**12}
    ),
    "at_risk_was_measured_right": Damage("UPDATE assets SET at_risk = at_risk - 1", {"asset": "base"}),
    "robbers_are_blocked": Damage(_channel("peer_has_robbed = false", ROBBER.channel), {**_OF_ROBBER}),
    "robbery_is_on_the_ledger": Damage("UPDATE robberies SET period = 1", {**_OF_ROBBER, "period": 1}),
    "doubt_has_a_reason": Damage(_channel("unsure_period = 1"), {**_OF_RECEIVING, "unsure_period": 1}),
    "one_unfinished_unit_for_one_end": Damage(
        "DROP INDEX journal_one_unfinished_of_reference;"
        "INSERT INTO journal (purpose, aa_address, period, unit, joint, state, reference)"
        f" VALUES ('deposit', '{PAID_CHANNEL}', 2, '{unit('double')}', $${joint('double')}$$, 'composed', 'a')",
        {**_OF_PAID, "purpose": "deposit", "unfinished": 2},
    ),
    "journal_holds_what_it_names": Damage(
        f"UPDATE journal SET joint = $${joint('another')}$$ WHERE unit = '{unit('close-1')}'",
        {"unit": unit("close-1"), "unit_stored": unit("another")},
    ),
    "coin_spent_once": Damage(
        "INSERT INTO wallet_units (unit, joint, mci, is_stable) VALUES"
        f" ('{unit('thief')}', $${joint('thief', spends='coin-of-close-1')}$$, 1, true)",
        {"coin_unit": unit("coin-of-close-1"), "unit": unit("close-1"), "another_unit": unit("thief")},
    ),
    "deposit_is_journaled": Damage(
        f"UPDATE journal SET state = 'stable', resolved_at = now() WHERE unit = '{unit('deposit-3')}'",
        {"unit": unit("deposit-3"), "state": "pending", "state_of_unit": "stable"},
    ),
    "command_succeeded_with_a_result": Damage("UPDATE commands SET result = NULL WHERE id = 3", {"id": 3}),
    "command_names_a_journaled_unit": Damage(
        f"""UPDATE commands SET result = '{{"unit": "{unit("nowhere")}"}}' WHERE id = 3""",
        {"id": 3, "unit": unit("nowhere")},
    ),
    "paying_command_has_signed": Damage(
        "UPDATE sent_payments SET state = 'uncertain' WHERE command_id = 1", {"id": 1, "state_of_package": "uncertain"}
    ),
    "command_runs_under_a_known_term": Damage("UPDATE lease SET term = 2", {"id": 4, "lease_term": 3}),
    "kept_answer_is_final": Damage("UPDATE kept_answers SET command_id = 4", {"command_id": 4, "state": "running"}),
    "payment_is_linked_to_its_request": Damage(
        "DELETE FROM request_payments", {**_OF_RECEIVING, "amount_spent": 300, "request": REQUEST}
    ),
    "request_was_paid_by_the_payment": Damage(
        "UPDATE request_payments SET amount = 51", {"request_id": REQUEST, "amount": 51, "payment_amount": 50}
    ),
    "request_sums_add_up": Damage(
        "UPDATE payment_requests SET told_late = 49", {"id": REQUEST, "told_late": 49, "late": 50}
    ),
    "given_up_channel_is_empty": Damage(
        f"{_PAYMENT}) VALUES ('{GIVEN_UP.channel}', 1, 5, 5, 'base')", {"aa_address": GIVEN_UP.channel}
    ),
    "payment_has_a_number_of_its_own": Damage(
        f"INSERT INTO payments (id, aa_address, period, amount_spent, payment_amount, asset) OVERRIDING SYSTEM VALUE"
        f" SELECT id, '{ROBBER.channel}', 1, 1, 1, 'base' FROM payments WHERE amount_spent = 250",
        {"payments": 2},
    ),
    "numbers_are_not_shared": Damage(
        "INSERT INTO events (id, kind, data) SELECT id, 'alarm_raised', '{}' FROM payments WHERE amount_spent = 250",
        {"kind": "alarm_raised", "amount_spent": 250},
    ),
    "numbers_were_given_out": Damage(
        "INSERT INTO events (id, kind, data) VALUES (1000000, 'alarm_raised', '{}')",
        {"source": "events", "id": 1_000_000},
    ),
    "forgotten_events_are_gone": Damage(
        "UPDATE event_stream SET gone_id = (SELECT min(id) FROM events)", {"kind": "channel_created_by_peer"}
    ),
    "delivery_has_its_lane": Damage(
        "DELETE FROM webhook_lanes", {"lane": RECEIVING.channel, "pending": 1, "has_lane": False}
    ),
    "held_lane_is_behind_its_webhook": Damage(
        "UPDATE webhook_held_lanes SET held_from = 900000", {"lane": RECEIVING.channel, "held_from": 900_000}
    ),
    "event_is_delivered_or_held": Damage(
        "DELETE FROM webhook_held_lanes", {**_OF_RECEIVING, "kind": "payment_received"}
    ),
    "address_follows_from_parameters": Damage(_channel("timeout_s = 1001"), _OF_RECEIVING),
    "claim_proves_spent": Damage(
        _claim(RECEIVING.package(299, 50)), {**_OF_RECEIVING, "fault": "its amount_spent is 299, not 300"}
    ),
    "sent_package_proves_payment": Damage(
        "UPDATE sent_payments SET package = '{}' WHERE amount_spent = 700",
        {**_OF_PAID, "amount_spent": 700, "fault": "it is no signed package"},
    ),
}
