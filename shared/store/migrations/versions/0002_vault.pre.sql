-- What the vault needs to be left alone: alarms, limits, pinned order providers, packages of our own, and the marks
-- that show a database that was restored.

-- ---------------------------------------------------------------------------------------------------- channels

ALTER TABLE channels
  -- The device that the channel's peer speaks from, when it is reached by encrypted messages.
  ADD COLUMN peer_device text CHECK (length(peer_device) = 33),
  ADD COLUMN auto_refill_threshold bigint CHECK (auto_refill_threshold BETWEEN 1 AND 9000000000000000),
  ADD COLUMN auto_refill_amount bigint CHECK (auto_refill_amount BETWEEN 1 AND 9000000000000000),
  -- After a restore: the period in which we may have signed more than this row knows. 0 when there is none.
  ADD COLUMN unsure_period bigint NOT NULL DEFAULT 0 CHECK (unsure_period >= 0),
  -- The peer has an unforgiven row in `robberies`, for this channel or another one.
  ADD COLUMN peer_has_robbed boolean NOT NULL DEFAULT false,
  ADD CONSTRAINT channels_auto_refill_is_complete CHECK (
    (auto_refill_threshold IS NULL) = (auto_refill_amount IS NULL)
  );

CREATE INDEX channels_refilled ON channels (aa_address) WHERE auto_refill_amount IS NOT NULL;
CREATE INDEX channels_unsure ON channels (aa_address) WHERE unsure_period > 0;
CREATE INDEX channels_of_robbers ON channels (peer_address) WHERE peer_has_robbed;

GRANT SELECT (peer_device, auto_refill_threshold, auto_refill_amount, unsure_period, peer_has_robbed)
  ON channels TO sluice_front;

-- What is at risk in the channels of an asset, as the worker last measured it, and whether the fronts must stop.
ALTER TABLE assets
  ADD COLUMN at_risk bigint NOT NULL DEFAULT 0 CHECK (at_risk >= 0),
  ADD COLUMN at_risk_measured_at timestamptz,
  ADD COLUMN is_stopped boolean NOT NULL DEFAULT false;

-- What every batch of payments asks for: as short as the list of what is stopped, however many assets there are.
CREATE INDEX assets_stopped ON assets (asset) WHERE is_stopped;

GRANT UPDATE (at_risk, at_risk_measured_at, is_stopped) ON assets TO sluice_worker;

-- Periods that ended by a fraud proof which was not ours, after their peer had closed them.
CREATE TABLE robberies (
  aa_address   text NOT NULL REFERENCES channels,
  period       bigint NOT NULL CHECK (period > 0),
  peer_address text NOT NULL,
  asset        text NOT NULL,
  -- What was at risk by our books: what an honest closing would have paid us.
  amount       bigint NOT NULL CHECK (amount >= 0),
  -- The agent's response that paid everything to somebody else.
  unit         text NOT NULL CHECK (length(unit) = 44),
  noticed_at   timestamptz NOT NULL DEFAULT now(),
  -- A person has seen it and lets the peer go on. Until then it counts towards max_total.
  forgiven_at  timestamptz,
  PRIMARY KEY (aa_address, period)
);

CREATE INDEX robberies_unforgiven ON robberies (aa_address) WHERE forgiven_at IS NULL;

GRANT SELECT, INSERT, UPDATE (forgiven_at) ON robberies TO sluice_worker;

-- -------------------------------------------------------------------------------------------------- the ledger

ALTER TABLE instance
  ADD COLUMN order_providers text[] CHECK (cardinality(order_providers) > 0),
  ADD COLUMN agent_versions text[] NOT NULL DEFAULT '{1.1}',
  -- The newest that a proof has shown: an older proof is an old one, served again.
  ADD COLUMN ledger_mci bigint NOT NULL DEFAULT 0 CHECK (ledger_mci >= 0),
  ADD COLUMN ledger_time_s bigint NOT NULL DEFAULT 0 CHECK (ledger_time_s >= 0),
  -- Grows with everything the vault does. A mark of it is kept outside of the database.
  ADD COLUMN pulse bigint NOT NULL DEFAULT 0 CHECK (pulse >= 0),
  -- What our address has done on the ledger since then, our books know.
  ADD COLUMN declared_at timestamptz NOT NULL DEFAULT now(),
  ADD COLUMN restored_at timestamptz,
  ADD COLUMN restored_reason text,
  ADD CONSTRAINT instance_restored_says_why CHECK ((restored_at IS NULL) = (restored_reason IS NULL));

-- ---------------------------------------------------------------------------------- what needs a person's eyes

CREATE TABLE alarms (
  kind      text NOT NULL CHECK (length(kind) BETWEEN 1 AND 64),
  -- What it is about: a channel, an asset, a hub; empty when there is only one such thing.
  subject   text NOT NULL DEFAULT '' CHECK (length(subject) <= 2048),
  severity  text NOT NULL CHECK (severity IN ('warning', 'critical')),
  facts     json NOT NULL,
  raised_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (kind, subject)
);

GRANT SELECT ON alarms TO sluice_front;
GRANT SELECT, INSERT, UPDATE, DELETE ON alarms TO sluice_worker;

-- ------------------------------------------------------------------------------------------- front and worker

-- What the worker has decided for a command and must not decide again after a crash. NULL: it was not begun.
ALTER TABLE commands ADD COLUMN progress json;

-- ---------------------------------------------------------------------------------- the vault: worker role only

-- One purpose may have to be served several times in a period (deposits): the reference tells them apart.
ALTER TABLE journal ADD COLUMN reference text NOT NULL DEFAULT '' CHECK (length(reference) <= 64);

CREATE UNIQUE INDEX journal_one_unfinished_of_reference
  ON journal (purpose, coalesce(aa_address, ''), coalesce(period, 0), reference)
  WHERE state IN ('composed', 'posted');

-- A unit that fails takes its deposit with it.
CREATE INDEX deposits_pending ON deposits (unit) WHERE state = 'pending';

CREATE INDEX journal_of_reference ON journal (reference) WHERE reference <> '';
CREATE INDEX journal_of_channel ON journal (aa_address) WHERE aa_address IS NOT NULL;
CREATE INDEX journal_failed ON journal (purpose) WHERE state = 'failed';

-- Packages that we have signed: kept before they leave, so that an uncertain payment is sent again as the same bytes.
CREATE TABLE sent_payments (
  aa_address     text NOT NULL REFERENCES channels,
  period         bigint NOT NULL CHECK (period > 0),
  amount_spent   bigint NOT NULL CHECK (amount_spent BETWEEN 1 AND 9000000000000000),
  payment_amount bigint NOT NULL CHECK (payment_amount BETWEEN 1 AND 9000000000000000),
  command_id     bigint REFERENCES commands,
  -- A bearer secret, like the claims.
  package        text NOT NULL CHECK (octet_length(package) <= 65536),
  message        text CHECK (octet_length(message) <= 65536),
  state          text NOT NULL DEFAULT 'signed' CHECK (state IN ('signed', 'delivered', 'refused', 'uncertain')),
  answer         text CHECK (octet_length(answer) <= 65536),
  signed_at      timestamptz NOT NULL DEFAULT now(),
  settled_at     timestamptz,
  PRIMARY KEY (aa_address, period, amount_spent)
);

CREATE UNIQUE INDEX sent_payments_one_per_command ON sent_payments (command_id) WHERE command_id IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON sent_payments TO sluice_worker;
