-- How the tables lie on a Citus cluster: what belongs to a channel lies with it. docs/scaling.md explains it.
--
-- NOT RUN by this project: Citus is no part of its tests. They hold this file against the schema: every table has its
-- place, and each key, reference and trigger of a distributed table follows Citus' rules or is named here with what is
-- done about it. Run it as the owner of the tables, after `sluice migrate`, on a cluster without traffic.

BEGIN;

-- What is written under many channels' locks at once is read everywhere.
SELECT create_reference_table('assets');

-- References from tables that stay here to distributed ones do not exist in Citus. `sluice audit` looks for what they held.
ALTER TABLE commands DROP CONSTRAINT commands_aa_address_fkey;
ALTER TABLE journal DROP CONSTRAINT journal_aa_address_fkey;
ALTER TABLE robberies DROP CONSTRAINT robberies_aa_address_fkey;
ALTER TABLE sent_payments DROP CONSTRAINT sent_payments_aa_address_fkey;

-- One peer uses a salt once: the address is a hash of both and of what else was agreed on, so a second channel differs
-- in something else. What is lost is the refusal of such a second one.
ALTER TABLE channels DROP CONSTRAINT channels_salt_used_once;
CREATE INDEX channels_by_peer ON channels (peer_address, salt);

-- These write into tables that stay here, which a trigger on a shard cannot. Before this is run, a release has to write
-- the same rows by statements of its own, in the same transactions.
DROP TRIGGER tell_of_channel ON channels;
DROP TRIGGER revive_channel ON channels;
DROP TRIGGER link_payment_to_request ON payments;

-- The hot path: a payment touches rows of one shard.
SELECT create_distributed_table('channels', 'aa_address', shard_count => 64);
SELECT create_distributed_table('payments', 'aa_address', colocate_with => 'channels');
SELECT create_distributed_table('peer_units', 'aa_address', colocate_with => 'channels');
-- What the ledger said, and history.
SELECT create_distributed_table('ledger_events', 'aa_address', colocate_with => 'channels');
SELECT create_distributed_table('deposits', 'aa_address', colocate_with => 'channels');
SELECT create_distributed_table('payments_archive', 'aa_address', colocate_with => 'channels');
SELECT create_distributed_table('payments_by_month', 'aa_address', colocate_with => 'channels');

COMMIT;

-- Everything else stays on the coordinator: written rarely, or in one order for the whole receiver.
--   local: alarms api_keys commands correspondents device_keys event_stream events handled_messages instance
--   local: journal kept_answers lease pairing_secrets payment_requests payments_months
--   local: request_payments robberies schema_revisions sent_payments wallet_units webhook_attempts webhook_deliveries
--   local: webhook_held_lanes webhook_lanes webhook_secrets webhook_signer webhooks
