"""What a front may not do even if somebody has taken it over, and what no process may do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.store import channels, payments
from shared.store.errors import StoreError
from tests.integration.store.builders import address, insert_open, payment

if TYPE_CHECKING:
    from shared.store.database import Connection, Database

INSUFFICIENT_PRIVILEGE = "42501"

FORBIDDEN_TO_FRONTS = [
    # The secrets and the vault.
    "SELECT claim FROM channels",
    "SELECT * FROM channels",
    "UPDATE channels SET credit = 0 RETURNING claim",
    "UPDATE channels SET credit = length(claim)",
    "UPDATE channels SET credit = 0 WHERE claim LIKE 'a%'",
    "COPY channels TO STDOUT",
    "SELECT count(*) FROM journal",
    "INSERT INTO journal (purpose, unit, joint) VALUES ('close', repeat('u', 44), '{}')",
    "UPDATE journal SET state = 'failed', error = 'x'",
    "DELETE FROM journal",
    "SELECT count(*) FROM wallet_units",
    "INSERT INTO wallet_units (unit, joint) VALUES (repeat('u', 44), '{}')",
    "UPDATE wallet_units SET is_stable = true",
    "DELETE FROM wallet_units",
    "INSERT INTO lease (name, holder, term, expires_at) VALUES ('wallet', 'front', 1, now())",
    "UPDATE lease SET holder = 'front'",
    "DELETE FROM lease",
    "SELECT FROM lease FOR UPDATE",
    "SELECT package FROM sent_payments",
    "SELECT * FROM sent_payments",
    "SELECT count(*) FROM sent_payments WHERE package LIKE 'a%'",
    "UPDATE sent_payments SET state = 'delivered' RETURNING package",
    "INSERT INTO sent_payments (aa_address) VALUES ('x')",
    "DELETE FROM sent_payments",
    "INSERT INTO deposits (aa_address) VALUES ('x')",
    "SELECT count(*) FROM device_keys",
    "SELECT count(*) FROM correspondents",
    "SELECT count(*) FROM pairing_secrets",
    "INSERT INTO pairing_secrets (secret_hash, expires_at) VALUES (sha256('x'), 'infinity')",
    "SELECT count(*) FROM handled_messages",
    "UPDATE channels SET peer_device = repeat('0', 33)",
    # Whom only a person forgives.
    "UPDATE channels SET peer_has_robbed = false",
    "UPDATE robberies SET forgiven_at = now()",
    "SELECT count(*) FROM robberies",
    # What the ledger alone decides.
    "UPDATE channels SET deposited_by_peer = 1",
    "UPDATE channels SET status = 'open'",
    "UPDATE channels SET period = 2",
    "UPDATE channels SET spent_by_me = 1",
    "UPDATE channels SET period_closed_by_me = 0",
    "UPDATE channels SET has_peer_units = true",
    "UPDATE channels SET is_watched = true",
    "UPDATE channels SET expired_at = now()",
    "UPDATE channels SET peer_url = 'http://elsewhere'",
    "INSERT INTO channels (aa_address, deposited_by_peer) VALUES ('x', 1)",
    "INSERT INTO channels (aa_address, status) VALUES ('x', 'open')",
    "INSERT INTO peer_units (aa_address, unit, amount, closes, has_definition) VALUES ('x', 'u', 1, false, false)",
    "UPDATE peer_units SET amount = 9",
    "UPDATE peer_units SET first_seen_at = '-infinity'",
    "DELETE FROM peer_units",
    "UPDATE instance SET watcher_synced_at = now()",
    "INSERT INTO instance (network, own_address) VALUES ('devnet', 'x')",
    "INSERT INTO ledger_events (aa_address, event_id) VALUES ('x', 1)",
    "UPDATE deposits SET state = 'confirmed'",
    # The past.
    "DELETE FROM channels",
    "DELETE FROM payments",
    "UPDATE payments SET payment_amount = 1",
    "UPDATE payments SET message = 'another'",
    "INSERT INTO payments (accepted_at) VALUES (now())",
    # What others have asked for, and the worker's answers.
    "UPDATE commands SET state = 'queued'",
    "UPDATE commands SET params = '{}'",
    "INSERT INTO commands (kind, params, idempotency_key, state, error) VALUES ('x', '{}', 'k', 'failed', 'e')",
    "DELETE FROM commands",
    # What others have heard.
    "UPDATE events SET data = '{}'",
    "DELETE FROM events",
    "INSERT INTO events (id, kind, data) VALUES (1, 'x', '{}')",
    "INSERT INTO events (kind, data, recorded_at) VALUES ('x', '{}', now())",
    "UPDATE event_stream SET gone_id = 0",
    "SELECT setval('payments_id_seq', 1)",
    # What webhooks are signed with, and what became of deliveries.
    "SELECT sealed FROM webhook_secrets",
    "SELECT * FROM webhook_secrets",
    "UPDATE webhook_secrets SET ends_at = now() RETURNING sealed",
    "UPDATE webhook_secrets SET sealed = 'mine'",
    "DELETE FROM webhook_secrets",
    "INSERT INTO webhook_signer (public_key) VALUES (repeat('k', 44))",
    "UPDATE webhook_signer SET public_key = repeat('k', 44)",
    "UPDATE webhooks SET last_success_at = now()",
    "INSERT INTO webhook_deliveries (webhook_id, event_id) VALUES (1, 1)",
    "UPDATE webhook_deliveries SET attempts = 0",
    "DELETE FROM webhook_deliveries",
    "UPDATE webhook_lanes SET claim = 0",
    "DELETE FROM webhook_lanes",
    "INSERT INTO webhook_held_lanes (webhook_id, lane, held_from, event_at) VALUES (1, '', 1, now())",
    "UPDATE webhook_held_lanes SET held_from = 1",
    "INSERT INTO webhook_attempts (webhook_id, event_id, number) VALUES (1, 1, 1)",
    # What was asked for, what came for it, and what was told of that.
    "UPDATE payment_requests SET amount = 1",
    "UPDATE payment_requests SET expires_at = NULL",
    "UPDATE payment_requests SET told_in_time = 5",
    "INSERT INTO payment_requests (id, amount, asset, told_in_time) VALUES (repeat('A', 22), 1, 'base', 1)",
    "DELETE FROM payment_requests",
    "UPDATE request_payments SET is_told = true",
    "UPDATE request_payments SET amount = 1",
    "DELETE FROM request_payments",
    # Keys to the doors.
    "INSERT INTO api_keys (name, scopes, key_hash) VALUES ('mine', '{admin}', sha256('x'))",
    "UPDATE api_keys SET scopes = '{admin}'",
    "UPDATE api_keys SET revoked_at = NULL",
    "UPDATE api_keys SET key_hash = sha256('x')",
    # The schema and the way back up.
    "UPDATE schema_revisions SET version_num = '9999_pre'",
    "CREATE TABLE mine (x int)",
    "DROP TABLE payments",
    "TRUNCATE payments",
    "ALTER TABLE channels DISABLE ROW LEVEL SECURITY",
    "SET ROLE sluice_worker",
]

FORBIDDEN_TO_THE_WORKER = [
    "DELETE FROM channels",
    "DELETE FROM payments",
    "UPDATE payments SET payment_amount = 1",
    "UPDATE ledger_events SET payload = '{}'",
    "DELETE FROM ledger_events",
    "DELETE FROM journal",
    "DELETE FROM lease",
    "DELETE FROM deposits",
    "UPDATE events SET data = '{}'",
    "SELECT setval('payments_id_seq', 1)",
    "UPDATE payment_requests SET amount = 1",
    "UPDATE request_payments SET amount = 1",
    "DELETE FROM request_payments",
    "UPDATE webhook_attempts SET status = 200",
    "DELETE FROM webhook_attempts",
    "TRUNCATE channels",
    "DROP TABLE channels",
    "CREATE TABLE mine (x int)",
    "UPDATE schema_revisions SET version_num = '9999_pre'",
]


async def as_a_plain_login(owner: Connection, role: str, statement: str) -> None:
    """Run a statement as a login that is no superuser: of one, SET ROLE back to anything is always allowed."""
    await owner.execute(f"CREATE ROLE plain_login LOGIN IN ROLE {role}; SET SESSION AUTHORIZATION plain_login")
    await owner.execute(f"SET ROLE {role}")
    await owner.execute(statement)


@pytest.mark.parametrize("statement", FORBIDDEN_TO_FRONTS)
async def test_a_front_may_not(refusals: Connection, statement: str) -> None:
    with pytest.raises(Exception, match=r"permission denied|must be (owner|able)") as refusal:
        await as_a_plain_login(refusals, "sluice_front", statement)
    assert getattr(refusal.value, "sqlstate", None) == INSUFFICIENT_PRIVILEGE


@pytest.mark.parametrize("statement", FORBIDDEN_TO_THE_WORKER)
async def test_the_worker_may_not(refusals: Connection, statement: str) -> None:
    with pytest.raises(Exception, match=r"permission denied|must be owner") as refusal:
        await as_a_plain_login(refusals, "sluice_worker", statement)
    assert getattr(refusal.value, "sqlstate", None) == INSUFFICIENT_PRIVILEGE


async def test_a_front_writes_a_claim_that_it_cannot_read_back(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        channel = await insert_open(conn)
    async with front.transaction() as conn:
        await payments.record_batch(conn, [replace(channel, spent_by_peer=1, claim="secret")], [payment(1, 1)])
    with pytest.raises(StoreError, match="permission denied"):
        async with front.connection() as conn:
            await channels.lock_one(conn, channel.aa_address)
    async with worker.transaction() as conn:
        found = await channels.lock_one(conn, channel.aa_address)
    assert found is not None
    assert found.claim == "secret"


async def test_a_front_does_not_learn_a_claim_from_an_error(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn, spent_by_peer=5, claim="the secret package")
    with pytest.raises(StoreError) as refusal:
        async with front.connection() as conn:
            await conn.execute("UPDATE channels SET credit = 6 WHERE aa_address = $1", address())
    assert refusal.value.constraint == "channels_credit_was_signed"
    assert "the secret package" not in str(refusal.value)
