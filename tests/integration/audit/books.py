"""Books in which everything is right: three channels and a webhook, with every kind of row that a rule looks at."""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shared.channels.model import UnconfirmedLimits
from shared.obyte.agents import channel_address
from shared.obyte.networks import DEVNET
from shared.obyte.signed_messages import sign_message
from shared.store.audit.rules import Limits
from tests.receiving_support import OWN, ROOMY, SALT, TIMEOUT_S, Payer, payer_key

if TYPE_CHECKING:
    import asyncpg

LIMITS = Limits({"base": UnconfirmedLimits(1_000, 1_000, 5)}, ROOMY)

RECEIVING = Payer(payer_key(1))
"""Pays us in period 1; a payment of his is still to be covered by the ledger."""
PAID = Payer(payer_key(2))
"""Is paid by us in period 2. In period 1 we closed with his package."""
ROBBER = Payer(payer_key(3))
"""Has closed honestly once and robbed us afterwards."""
REQUEST = "r" * 22
GIVEN_UP = Payer(payer_key(4))
"""Has asked for a channel and never deposited."""
MONTH = "date_trunc('month', now() AT TIME ZONE 'UTC')::date"
PAID_CHANNEL = channel_address(PAID.address, OWN.address, "base", TIMEOUT_S, SALT, "1.1")


def unit(name: str) -> str:
    """A unit hash that says what it is of."""
    return f"{name:x<43}="


def joint(name: str, data: Any = None, *, spends: str = "") -> str:
    """A unit as the journal and the wallet store it."""
    messages: list[Any] = [{"app": "data", "payload": data}] if data else []
    spent = {"unit": unit(spends or f"coin-of-{name}"), "message_index": 0, "output_index": 0}
    messages.append({"app": "payment", "payload": {"inputs": [spent], "outputs": []}})
    return json.dumps({"unit": {"unit": unit(name), "messages": messages}})


def signed_by_us(amount_spent: int, payment_amount: int) -> dict[str, Any]:
    """A package of ours in the channel that we pay through."""
    terms = {
        "payment_amount": payment_amount,
        "amount_spent": amount_spent,
        "period": 2,
        "aa_address": PAID_CHANNEL,
    }
    return sign_message(terms, OWN, DEVNET)


async def keep_books(conn: asyncpg.Connection[Any]) -> None:
    """Write them as the owner."""
    await conn.execute("INSERT INTO instance (network, own_address) VALUES ('devnet', $1)", OWN.address)
    await conn.execute("INSERT INTO lease (name, holder, term, expires_at) VALUES ('wallet', 'w', 3, now())")
    await _channels(conn)
    await _events(conn)
    await _requests(conn)
    await _payments(conn)
    await _units(conn)
    await _commands(conn)
    await _webhook(conn)
    await conn.execute(
        "UPDATE assets SET at_risk_measured_at = now() + interval '1 hour', at_risk ="
        " (SELECT sum(greatest(0, deposited_by_me - spent_by_me + spent_by_peer - credit)) + 100000 FROM channels)"
    )


async def _channels(conn: asyncpg.Connection[Any]) -> None:
    insert = """
        INSERT INTO channels (aa_address, own_address, peer_address, asset, timeout_s, salt, version, role, status,
          period, deposited_by_peer, deposited_by_me, spent_by_peer, spent_by_me, credit, claim, last_event_id,
          definition_confirmed, peer_has_robbed)
        VALUES ($1, $2, $3, 'base', $4, $5, '1.1', $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, true, $16)
    """
    claim = json.dumps(RECEIVING.package(300, 50))
    common = (TIMEOUT_S, SALT)
    await conn.execute(
        insert,
        RECEIVING.channel,
        OWN.address,
        RECEIVING.address,
        *common,
        "A",
        "open",
        1,
        200,
        0,
        300,
        0,
        50,
        claim,
        1,
        False,
    )
    await conn.execute(
        insert, PAID_CHANNEL, OWN.address, PAID.address, *common, "B", "open", 2, 0, 500_000, 0, 700, 0, None, 4, False
    )
    await conn.execute(
        insert, ROBBER.channel, OWN.address, ROBBER.address, *common, "A", "closed", 2, 0, 0, 0, 0, 0, None, 6, True
    )
    await conn.execute(
        "INSERT INTO robberies (aa_address, period, peer_address, asset, amount, unit)"
        " VALUES ($1, 2, $2, 'base', 9, $3)",
        ROBBER.channel,
        ROBBER.address,
        unit("event-6-3"),
    )


async def _events(conn: asyncpg.Connection[Any]) -> None:
    told: list[tuple[Payer, str, str, int, dict[str, Any]]] = [
        (RECEIVING, RECEIVING.channel, "opened", 1, {RECEIVING.address: 200, OWN.address: 0}),
        (PAID, PAID_CHANNEL, "opened", 1, {PAID.address: 0, OWN.address: 100, "trigger_unit": unit("deposit-1")}),
        (PAID, PAID_CHANNEL, "closing", 1, {PAID.address: 1000, OWN.address: 0, "initiated_by": OWN.address}),
        (PAID, PAID_CHANNEL, "closed", 1, {}),
        (PAID, PAID_CHANNEL, "opened", 2, {PAID.address: 0, OWN.address: 500_000, "trigger_unit": unit("deposit-2")}),
        (ROBBER, ROBBER.channel, "opened", 1, {ROBBER.address: 1000, OWN.address: 0}),
        (ROBBER, ROBBER.channel, "closing", 1, {ROBBER.address: 80, OWN.address: 0, "initiated_by": ROBBER.address}),
        (ROBBER, ROBBER.channel, "closed", 1, {}),
        (ROBBER, ROBBER.channel, "opened", 2, {ROBBER.address: 1000, OWN.address: 0}),
        (ROBBER, ROBBER.channel, "closing", 2, {ROBBER.address: 0, OWN.address: 0, "initiated_by": ROBBER.address}),
        (ROBBER, ROBBER.channel, "closed", 2, {"fraud_proof": 1}),
    ]
    numbers: dict[str, int] = {}
    for payer, aa_address, kind, period, payload in told:
        number = numbers[aa_address] = numbers.get(aa_address, 0) + 1
        await conn.execute(
            "INSERT INTO ledger_events (aa_address, event_id, kind, period, unit, payload, mci, unit_timestamp_s)"
            " VALUES ($1, $2, $3, $4, $5, $6, 1, 1)",
            aa_address,
            number,
            kind,
            period,
            unit(f"event-{number}-{3 if payer is ROBBER else 1}"),
            json.dumps(payload),
        )


async def _requests(conn: asyncpg.Connection[Any]) -> None:
    """A request that the payment of 50 in `_payments` is for, paid late, and two channels that saw nothing."""
    await conn.execute(
        "INSERT INTO payment_requests (id, amount, asset, created_at, expires_at, told_late, told_payments)"
        " VALUES ($1, 50, 'base', now() - interval '1 hour', now() - interval '1 minute', 50, 1)",
        REQUEST,
    )
    for number in (1, 2):
        payer = Payer(payer_key(number + 3))
        await conn.execute(
            "INSERT INTO channels (aa_address, own_address, peer_address, asset, timeout_s, salt, version, role,"
            " expired_at) VALUES ($1, $2, $3, 'base', $4, $5, '1.1', 'A', now())",
            payer.channel,
            OWN.address,
            payer.address,
            TIMEOUT_S,
            SALT,
        )


async def _payments(conn: asyncpg.Connection[Any]) -> None:
    insert = (
        "INSERT INTO payments (aa_address, period, amount_spent, payment_amount, asset, message)"
        " VALUES ($1, $2, $3, $4, 'base', $5)"
    )
    for amount_spent, amount in ((100, 100), (250, 100), (300, 50)):
        message = json.dumps({"request": REQUEST}) if amount == 50 else None
        await conn.execute(insert, RECEIVING.channel, 1, amount_spent, amount, message)
    await conn.execute("UPDATE request_payments SET is_told = true")
    await conn.execute(insert, PAID_CHANNEL, 1, 1000, 1000, None)
    await conn.execute(insert, ROBBER.channel, 1, 80, 80, None)
    await conn.execute(insert, ROBBER.channel, 2, 9, 9, None)
    await _archive(conn)


async def _archive(conn: asyncpg.Connection[Any]) -> None:
    """Move what we were paid in the channel whose first period is over."""
    await conn.execute(
        f"""
        SELECT make_payments_month({MONTH});
        WITH gone AS (DELETE FROM payments WHERE aa_address = '{PAID_CHANNEL}' RETURNING *)
        INSERT INTO payments_archive
          (id, aa_address, period, amount_spent, payment_amount, asset, message, response, accepted_at)
        SELECT id, aa_address, period, amount_spent, payment_amount, asset, message, response, accepted_at FROM gone;
        INSERT INTO payments_by_month SELECT aa_address, {MONTH}, asset, 1, payment_amount FROM payments_archive;
        """
    )


async def _units(conn: asyncpg.Connection[Any]) -> None:
    claim = {"signed_message": {"amount_spent": 1000}}
    made = [
        ("deposit", PAID_CHANNEL, 1, "deposit-1", "stable", None, ""),
        ("close", PAID_CHANNEL, 1, "close-1", "stable", {"close": 1, "period": 1, "sentByPeer": claim}, ""),
        ("deposit", PAID_CHANNEL, 2, "deposit-2", "stable", None, "command-3"),
        ("deposit", PAID_CHANNEL, 2, "deposit-3", "posted", None, "a"),
        ("confirm", ROBBER.channel, 1, "confirm-1", "stable", {"confirm": 1, "period": 1}, ""),
    ]
    for purpose, aa_address, period, name, state, data, reference in made:
        await conn.execute(
            "INSERT INTO journal (purpose, aa_address, period, unit, joint, state, resolved_at, reference)"
            " VALUES ($1, $2, $3, $4, $5, $6::text, CASE $6::text WHEN 'stable' THEN now() END, $7)",
            purpose,
            aa_address,
            period,
            unit(name),
            joint(name, data),
            state,
            reference,
        )
        if state == "stable":
            await conn.execute(
                "INSERT INTO wallet_units (unit, joint, mci, is_stable) VALUES ($1, $2, 1, true)",
                unit(name),
                joint(name, data),
            )
    for name, amount, state in (("deposit-1", 100, "confirmed"), ("deposit-2", 500_000, "confirmed")):
        await conn.execute(
            "INSERT INTO deposits (aa_address, unit, amount, state, settled_at) VALUES ($1, $2, $3, $4, now())",
            PAID_CHANNEL,
            unit(name),
            amount,
            state,
        )
    await conn.execute(
        "INSERT INTO deposits (aa_address, unit, amount) VALUES ($1, $2, 100000)", PAID_CHANNEL, unit("deposit-3")
    )


async def _commands(conn: asyncpg.Connection[Any]) -> None:
    insert = """
        INSERT INTO commands (kind, aa_address, params, idempotency_key, state, result, attempts, lease_term,
          finished_at)
        VALUES ($1, $2, '{}', $1, $3::text, $4, 1, $5, CASE $3::text WHEN 'succeeded' THEN now() END)
    """
    await conn.execute(insert, "pay", PAID_CHANNEL, "succeeded", '{"amount": 200}', 1)
    await conn.execute(insert, "sign", PAID_CHANNEL, "succeeded", '{"amount": 500}', 2)
    await conn.execute(insert, "deposit", PAID_CHANNEL, "succeeded", json.dumps({"unit": unit("deposit-2")}), 2)
    await conn.execute(insert, "close", RECEIVING.channel, "running", None, 3)
    for command, amount_spent, amount, state in ((1, 200, 200, "delivered"), (2, 700, 500, "signed")):
        await conn.execute(
            "INSERT INTO sent_payments (aa_address, period, amount_spent, payment_amount, command_id, package, state)"
            " VALUES ($1, 2, $2, $3, $4, $5, $6)",
            PAID_CHANNEL,
            amount_spent,
            amount,
            command,
            json.dumps(signed_by_us(amount_spent, amount)),
            state,
        )
    await conn.execute("INSERT INTO api_keys (name, scopes, key_hash) VALUES ('k', ARRAY['spend'], sha256('token'))")
    await conn.execute(
        "INSERT INTO kept_answers (api_key_id, idempotency_key, request_hash, command_id, status, body)"
        " VALUES (1, 'a', sha256('request'), 1, 200, '{}')"
    )


async def _webhook(conn: asyncpg.Connection[Any]) -> None:
    """Everything was delivered but what was paid in one channel: the first payment waits, the others are held."""
    await conn.execute(
        f"""
        INSERT INTO webhooks (url, position, updated_at)
        SELECT 'https://shop.example/', last_value, now() - interval '2 hours' FROM payments_id_seq;
        INSERT INTO webhook_deliveries (webhook_id, event_id, stream, kind, aa_address, event_at, state, finished_at)
        SELECT w.id, e.id, s.name, e.kind, e.aa_address, e.at, e.state,
               CASE e.state WHEN 'delivered' THEN now() - interval '1 hour' END
          FROM webhooks w, event_stream s, (
            SELECT id, kind, aa_address, recorded_at AS at, 'delivered' AS state FROM events
            UNION ALL
            SELECT id, 'payment_received', aa_address, accepted_at,
                   CASE aa_address WHEN '{RECEIVING.channel}' THEN 'pending' ELSE 'delivered' END
              FROM payments WHERE aa_address <> '{RECEIVING.channel}' OR amount_spent = 100
          ) AS e;
        INSERT INTO webhook_lanes (webhook_id, lane, due_at) SELECT id, '{RECEIVING.channel}', now() FROM webhooks;
        INSERT INTO webhook_held_lanes (webhook_id, lane, held_from, event_at)
        SELECT w.id, p.aa_address, p.id, p.accepted_at FROM webhooks w, payments p
         WHERE p.aa_address = '{RECEIVING.channel}' AND p.amount_spent = 250;
        """
    )
