-- The first schema: channels and payments, what the worker knows of the ledger, and who may touch what.
--
-- Amounts are bigint in the asset's smallest unit. 9e15 is the ledger's own limit on an amount and on a sum of
-- amounts, so no sum written here can overflow. Times are timestamptz by the clock of this database; ledger times
-- are integer seconds (`…_s`).

-- ---------------------------------------------------------------------------------------------------- channels

CREATE TABLE assets (
  asset     text PRIMARY KEY CHECK (asset = 'base' OR length(asset) = 44),
  -- The fronts lock a row while they use up the asset's unconfirmed allowance, which Postgres allows only to who may
  -- update a column: this is the one they may, and it means nothing.
  locked_at timestamptz
);

INSERT INTO assets (asset) VALUES ('base');

CREATE TABLE channels (
  -- What both peers agreed on. Never changes: the address is a hash of it.
  aa_address         text PRIMARY KEY CHECK (length(aa_address) = 32),
  own_address        text NOT NULL CHECK (length(own_address) = 32),
  peer_address       text NOT NULL CHECK (length(peer_address) = 32),
  asset              text NOT NULL REFERENCES assets,
  timeout_s          bigint NOT NULL CHECK (timeout_s > 0),
  salt               text CHECK (length(salt) BETWEEN 1 AND 50),
  version            text NOT NULL CHECK (length(version) BETWEEN 1 AND 4),
  role               text NOT NULL CHECK (role IN ('A', 'B')),

  -- The state, as the rules about money compute it.
  status             text NOT NULL DEFAULT 'closed'
                     CHECK (status IN ('closed', 'open', 'closing_initiated_by_me', 'closing_initiated_by_peer')),
  period             bigint NOT NULL DEFAULT 0,
  deposited_by_peer  bigint NOT NULL DEFAULT 0,
  deposited_by_me    bigint NOT NULL DEFAULT 0,
  spent_by_peer      bigint NOT NULL DEFAULT 0,
  spent_by_me        bigint NOT NULL DEFAULT 0,
  credit             bigint NOT NULL DEFAULT 0,
  -- The best package the peer has signed: a bearer secret. The fronts write it and cannot read it.
  claim              text CHECK (octet_length(claim) <= 65536),
  period_closed_by_me bigint NOT NULL DEFAULT 0,
  close_started_at_s bigint,
  claimed_by_peer    bigint,
  last_event_id      bigint NOT NULL DEFAULT 0 CHECK (last_event_id >= 0),
  definition_confirmed boolean NOT NULL DEFAULT false,

  -- What spares the hot path a look elsewhere.
  has_peer_units     boolean NOT NULL DEFAULT false,
  -- Stored, so that the partial index below does not depend on the counters themselves: as long as it stays 0 a
  -- payment changes no indexed column and its update is heap-only.
  unconfirmed_used   bigint NOT NULL
                     GENERATED ALWAYS AS (greatest(0, spent_by_peer - deposited_by_peer - spent_by_me)) STORED,

  peer_url           text CHECK (length(peer_url) <= 2048),
  -- False until a worker has asked its hub for the address: how new channels are found without reading them all.
  is_watched         boolean NOT NULL DEFAULT false,
  created_at         timestamptz NOT NULL DEFAULT now(),
  updated_at         timestamptz NOT NULL DEFAULT now(),

  -- One peer uses a salt once. Channels without a salt are told apart by their address alone.
  CONSTRAINT channels_salt_used_once UNIQUE (peer_address, salt),
  CONSTRAINT channels_two_parties CHECK (own_address <> peer_address),
  CONSTRAINT channels_amounts_in_range CHECK (
    least(deposited_by_peer, deposited_by_me, spent_by_peer, spent_by_me, credit, claimed_by_peer) >= 0
    AND greatest(deposited_by_peer, deposited_by_me, spent_by_peer, spent_by_me, credit, claimed_by_peer)
      <= 9000000000000000
  ),
  CONSTRAINT channels_credit_was_signed CHECK (credit <= spent_by_peer),
  CONSTRAINT channels_claim_proves_spent CHECK ((spent_by_peer = 0) = (claim IS NULL)),
  CONSTRAINT channels_period_started CHECK (period >= 0 AND (period > 0 OR status = 'closed')),
  CONSTRAINT channels_closed_by_me_is_known CHECK (period_closed_by_me BETWEEN 0 AND period),
  CONSTRAINT channels_closed_holds_nothing CHECK (
    status <> 'closed' OR (deposited_by_peer = 0 AND deposited_by_me = 0)
  ),
  CONSTRAINT channels_closing_has_a_start CHECK (
    (status IN ('closing_initiated_by_me', 'closing_initiated_by_peer')) = (close_started_at_s IS NOT NULL)
  ),
  CONSTRAINT channels_closing_peer_has_claimed CHECK (
    (status = 'closing_initiated_by_peer') = (claimed_by_peer IS NOT NULL)
  )
) WITH (fillfactor = 50); -- half of every page is free for the next version of a busy row

CREATE INDEX channels_using_unconfirmed ON channels (asset) INCLUDE (unconfirmed_used) WHERE unconfirmed_used > 0;
CREATE INDEX channels_by_age ON channels (created_at, aa_address);
CREATE INDEX channels_never_opened ON channels (peer_address) WHERE last_event_id = 0;
CREATE INDEX channels_to_watch ON channels (aa_address) WHERE NOT is_watched;

CREATE TABLE payments (
  id             bigint GENERATED ALWAYS AS IDENTITY,
  aa_address     text NOT NULL REFERENCES channels,
  period         bigint NOT NULL CHECK (period > 0),
  amount_spent   bigint NOT NULL CHECK (amount_spent BETWEEN 1 AND 9000000000000000),
  payment_amount bigint NOT NULL CHECK (payment_amount BETWEEN 1 AND 9000000000000000),
  asset          text NOT NULL,
  message        text CHECK (octet_length(message) <= 65536),
  response       text CHECK (octet_length(response) <= 65536),
  accepted_at    timestamptz NOT NULL DEFAULT now(),
  -- The money itself is the key: accepting a payment *is* inserting it, and that works once.
  CONSTRAINT payments_credited_once PRIMARY KEY (aa_address, period, amount_spent, payment_amount)
);

-- The identity makes ids unique; a unique index without the channel's address could not be distributed by it.
CREATE INDEX payments_by_id ON payments (id);

CREATE TABLE peer_units (
  aa_address     text NOT NULL REFERENCES channels,
  unit           text NOT NULL CHECK (length(unit) = 44),
  amount         bigint NOT NULL CHECK (amount BETWEEN 0 AND 9000000000000000),
  closes         boolean NOT NULL,
  has_definition boolean NOT NULL,
  bad_sequence   boolean NOT NULL DEFAULT false,
  first_seen_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (aa_address, unit)
);

-- -------------------------------------------------------------------------------------------------- the ledger

CREATE TABLE ledger_events (
  aa_address       text NOT NULL REFERENCES channels,
  event_id         bigint NOT NULL CHECK (event_id > 0),
  kind             text NOT NULL CHECK (kind IN ('opened', 'refused', 'closing', 'closed')),
  period           bigint CHECK (period > 0),
  unit             text NOT NULL CHECK (length(unit) = 44),
  -- `json`, not `jsonb`, wherever a stranger wrote the text: jsonb refuses strings that are valid on the ledger.
  payload          json NOT NULL,
  mci              bigint NOT NULL CHECK (mci >= 0),
  unit_timestamp_s bigint NOT NULL,
  seen_at          timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (aa_address, event_id)
);

CREATE TABLE deposits (
  aa_address text NOT NULL REFERENCES channels,
  unit       text NOT NULL CHECK (length(unit) = 44),
  amount     bigint NOT NULL CHECK (amount BETWEEN 1 AND 9000000000000000),
  state      text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'confirmed', 'refused', 'bounced')),
  created_at timestamptz NOT NULL DEFAULT now(),
  settled_at timestamptz,
  PRIMARY KEY (aa_address, unit),
  CONSTRAINT deposits_settled_at_an_instant CHECK ((state = 'pending') = (settled_at IS NULL))
);

-- ------------------------------------------------------------------------------------------- front and worker

CREATE TABLE commands (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind            text NOT NULL CHECK (length(kind) BETWEEN 1 AND 64),
  aa_address      text REFERENCES channels,
  params          json NOT NULL,
  idempotency_key text NOT NULL UNIQUE CHECK (length(idempotency_key) BETWEEN 1 AND 255),
  state           text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'succeeded', 'failed')),
  result          json,
  error           text,
  attempts        integer NOT NULL DEFAULT 0,
  lease_term      bigint,
  created_at      timestamptz NOT NULL DEFAULT now(),
  started_at      timestamptz,
  finished_at     timestamptz,
  CONSTRAINT commands_running_has_a_runner CHECK (state <> 'running' OR (lease_term IS NOT NULL AND attempts > 0)),
  CONSTRAINT commands_finished_at_an_instant CHECK ((state IN ('succeeded', 'failed')) = (finished_at IS NOT NULL)),
  CONSTRAINT commands_failed_says_why CHECK ((state = 'failed') = (error IS NOT NULL))
);

CREATE INDEX commands_unfinished ON commands (state, id) WHERE state IN ('queued', 'running');

CREATE TABLE instance (
  is_the_one        boolean PRIMARY KEY DEFAULT true CHECK (is_the_one),
  network           text NOT NULL,
  own_address       text NOT NULL CHECK (length(own_address) = 32),
  watcher_synced_at timestamptz
);

CREATE TABLE api_keys (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  scopes       text[] NOT NULL CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'receive', 'spend', 'admin']),
  -- SHA-256 of a random 256-bit token: nothing to guess, so nothing to slow down.
  key_hash     bytea NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
  created_at   timestamptz NOT NULL DEFAULT now(),
  revoked_at   timestamptz,
  last_used_at timestamptz
);

-- ---------------------------------------------------------------------------------- the vault: worker role only

CREATE TABLE lease (
  name       text PRIMARY KEY,
  holder     text NOT NULL,
  term       bigint NOT NULL CHECK (term > 0),
  expires_at timestamptz NOT NULL,
  -- Makes the term part of a key: a take-over changes a key and so waits for every transaction that has shared the
  -- key (`assert_held`), while a renewal changes none and waits for nobody.
  CONSTRAINT lease_term_is_key UNIQUE (name, term)
);

CREATE TABLE journal (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  purpose     text NOT NULL CHECK (length(purpose) BETWEEN 1 AND 64),
  aa_address  text REFERENCES channels,
  period      bigint CHECK (period > 0),
  unit        text NOT NULL UNIQUE CHECK (length(unit) = 44),
  joint       json NOT NULL,
  state       text NOT NULL DEFAULT 'composed' CHECK (state IN ('composed', 'posted', 'stable', 'failed')),
  error       text,
  created_at  timestamptz NOT NULL DEFAULT now(),
  posted_at   timestamptz,
  resolved_at timestamptz,
  CONSTRAINT journal_resolved_at_an_instant CHECK ((state IN ('stable', 'failed')) = (resolved_at IS NOT NULL)),
  CONSTRAINT journal_failed_says_why CHECK ((state = 'failed') = (error IS NOT NULL))
);

-- One purpose, one unit: while a unit's fate is open no second one can be made for the same end.
CREATE UNIQUE INDEX journal_one_unfinished ON journal (purpose, aa_address, period)
  WHERE state IN ('composed', 'posted');
CREATE INDEX journal_unfinished ON journal (id) WHERE state IN ('composed', 'posted');

CREATE TABLE wallet_units (
  unit          text PRIMARY KEY CHECK (length(unit) = 44),
  joint         json NOT NULL,
  mci           bigint CHECK (mci >= 0),
  is_stable     boolean NOT NULL DEFAULT false,
  sequence      text NOT NULL DEFAULT 'good' CHECK (sequence IN ('good', 'temp-bad', 'final-bad')),
  first_seen_at timestamptz NOT NULL DEFAULT now()
);

-- ---------------------------------------------------------------------------------------------------- the roles

-- Roles belong to the whole cluster: another database's migration may be creating them at this moment.
DO $$
DECLARE
  group_role text;
  -- Since Postgres 16 a member need not be allowed to SET ROLE, and who creates a role is such a member.
  may_set_role text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
  FOREACH group_role IN ARRAY ARRAY['sluice_front', 'sluice_worker'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = group_role) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', group_role);
      EXCEPTION
        WHEN duplicate_object OR unique_violation THEN
          NULL;
        WHEN insufficient_privilege THEN
          RAISE insufficient_privilege USING
            MESSAGE = format('role %s does not exist and %s may not create roles', group_role, current_user),
            HINT = format('As a database administrator run: CREATE ROLE sluice_front NOLOGIN; '
                          'CREATE ROLE sluice_worker NOLOGIN; GRANT sluice_front, sluice_worker TO %I;', current_user);
      END;
    END IF;
    -- One login for everything is a fair set-up: it may then step down into either role.
    IF NOT pg_has_role(current_user, group_role, may_set_role) THEN
      BEGIN
        EXECUTE format('GRANT %I TO %I', group_role, current_user);
      EXCEPTION
        WHEN insufficient_privilege THEN
          RAISE NOTICE '% is no member of %: fronts and workers need logins of their own', current_user, group_role;
      END;
    END IF;
  END LOOP;
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO sluice_front, sluice_worker', current_schema());
END
$$;

GRANT SELECT ON schema_revisions TO sluice_front, sluice_worker;

-- The fronts: may take payments and ask for work, and know no secret.
GRANT SELECT, INSERT (asset), UPDATE (locked_at) ON assets TO sluice_front;
GRANT
  SELECT (aa_address, own_address, peer_address, asset, timeout_s, salt, version, role, status, period,
    deposited_by_peer, deposited_by_me, spent_by_peer, spent_by_me, credit, period_closed_by_me, close_started_at_s,
    claimed_by_peer, last_event_id, definition_confirmed, has_peer_units, unconfirmed_used, peer_url, is_watched,
    created_at, updated_at),
  INSERT (aa_address, own_address, peer_address, asset, timeout_s, salt, version, role, peer_url),
  UPDATE (spent_by_peer, credit, claim, updated_at)
  ON channels TO sluice_front;
GRANT
  SELECT,
  INSERT (aa_address, period, amount_spent, payment_amount, asset, message),
  UPDATE (response)
  ON payments TO sluice_front;
GRANT SELECT, INSERT (kind, aa_address, params, idempotency_key) ON commands TO sluice_front;
GRANT SELECT, UPDATE (last_used_at) ON api_keys TO sluice_front;
GRANT SELECT ON peer_units, instance, lease TO sluice_front;

-- The worker: everything it needs, ownership and deletion not among it. History is only ever added to.
GRANT SELECT, INSERT ON assets, ledger_events TO sluice_worker;
GRANT UPDATE (locked_at) ON assets TO sluice_worker;
GRANT SELECT, INSERT, UPDATE ON
  channels, deposits, commands, instance, api_keys, lease, journal, wallet_units TO sluice_worker;
GRANT SELECT, INSERT, UPDATE (response) ON payments TO sluice_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON peer_units TO sluice_worker;
