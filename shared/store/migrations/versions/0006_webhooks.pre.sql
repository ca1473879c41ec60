-- Webhooks: where events are sent, and what became of each attempt.
--
-- A webhook is a reader of the stream of events: `position` is how far its deliveries were written down. Deliveries
-- are rows, inserted in the transaction that moves the position, from numbers that are decided (0004): exactly the
-- committed events become deliveries, and payments know nothing of it. The worker sends them.

CREATE TABLE webhooks (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  url             text NOT NULL CHECK (length(url) BETWEEN 1 AND 2048),
  description     text NOT NULL DEFAULT '' CHECK (length(description) <= 200),
  -- Names of events; without any all are sent.
  types           text[] CHECK (cardinality(types) BETWEEN 1 AND 100),
  state           text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'disabled')),
  reason          text CHECK (reason IN ('gone', 'failing')),
  position        bigint NOT NULL CHECK (position >= 0),
  -- The first failure since the last success.
  failing_since   timestamptz,
  last_success_at timestamptz,
  last_failure_at timestamptz,
  -- When its failing was last told as an event: once an hour at most.
  failing_told_at timestamptz,
  -- Who asks again under the same Idempotency-Key makes no second one: SHA-256 of API key and key, and of the request.
  creation_hash   bytea UNIQUE CHECK (octet_length(creation_hash) = 32),
  request_hash    bytea CHECK (octet_length(request_hash) = 32),
  created_at      timestamptz NOT NULL DEFAULT now(),
  updated_at      timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT webhooks_disabled_says_why CHECK ((state = 'disabled') = (reason IS NOT NULL)),
  CONSTRAINT webhooks_creation_is_complete CHECK ((creation_hash IS NULL) = (request_hash IS NULL))
);

-- What the worker can open: secrets are sealed to this key (`shared.sealing`), whose other half follows from the seed
-- of the wallet. Who reads the database or a backup of it cannot sign in our name.
CREATE TABLE webhook_signer (
  is_the_one boolean PRIMARY KEY DEFAULT true CHECK (is_the_one),
  public_key text NOT NULL CHECK (length(public_key) = 44)
);

-- The secret in use has no end. One that was replaced signs too until its end.
CREATE TABLE webhook_secrets (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  webhook_id bigint NOT NULL REFERENCES webhooks ON DELETE CASCADE,
  sealed     text NOT NULL CHECK (length(sealed) <= 1000),
  created_at timestamptz NOT NULL DEFAULT now(),
  ends_at    timestamptz
);

CREATE UNIQUE INDEX webhook_secrets_one_in_use ON webhook_secrets (webhook_id) WHERE ends_at IS NULL;
CREATE INDEX webhook_secrets_of ON webhook_secrets (webhook_id);

CREATE TABLE webhook_deliveries (
  webhook_id      bigint NOT NULL REFERENCES webhooks ON DELETE CASCADE,
  event_id        bigint NOT NULL,
  -- With the number, the id of the message. A restored database gives numbers out again under another name.
  stream          text NOT NULL,
  kind            text NOT NULL,
  aa_address      text,
  event_at        timestamptz NOT NULL,
  -- What is in one lane is sent one after the other.
  lane            text NOT NULL GENERATED ALWAYS AS (coalesce(aa_address, '')) STORED,
  state           text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed', 'given_up')),
  attempts        integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  -- Attempts since it was last asked for: how long the next pause is.
  tries           integer NOT NULL DEFAULT 0 CHECK (tries BETWEEN 0 AND attempts),
  next_attempt_at timestamptz,
  created_at      timestamptz NOT NULL DEFAULT now(),
  finished_at     timestamptz,
  PRIMARY KEY (webhook_id, event_id),
  CONSTRAINT webhook_deliveries_finished_at_an_instant CHECK ((state = 'pending') = (finished_at IS NULL))
);

CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (webhook_id, lane, event_id) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_oldest ON webhook_deliveries (webhook_id, event_id) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_end ON webhook_deliveries (finished_at) WHERE finished_at IS NOT NULL;

-- One row for each channel of a webhook that has deliveries waiting ('' for events without a channel): what senders
-- claim. A claim moves `due_at` to where it ends, so nothing is locked while a foreign server takes its time.
CREATE TABLE webhook_lanes (
  webhook_id   bigint NOT NULL REFERENCES webhooks ON DELETE CASCADE,
  lane         text NOT NULL,
  due_at       timestamptz NOT NULL,
  -- Grows with each claim: the result of an older one is not taken.
  claim        bigint NOT NULL DEFAULT 0,
  -- The term of the lease it was claimed under; a later one need not wait for the claim's end.
  claimed_term bigint,
  PRIMARY KEY (webhook_id, lane)
);

CREATE INDEX webhook_lanes_due ON webhook_lanes (webhook_id, due_at);

CREATE TABLE webhook_attempts (
  webhook_id  bigint NOT NULL,
  event_id    bigint NOT NULL,
  number      integer NOT NULL CHECK (number > 0),
  at          timestamptz NOT NULL,
  duration_ms integer NOT NULL CHECK (duration_ms >= 0),
  status      integer,
  error       text CHECK (length(error) <= 64),
  -- The beginning of what the server said, without what a terminal would obey.
  excerpt     text CHECK (length(excerpt) <= 1024),
  PRIMARY KEY (webhook_id, event_id, number),
  FOREIGN KEY (webhook_id, event_id) REFERENCES webhook_deliveries ON DELETE CASCADE
);

-- The fronts manage webhooks and ask for deliveries anew. They write sealed secrets and never read them.
GRANT
  SELECT,
  INSERT (url, description, types, position, creation_hash, request_hash),
  UPDATE (url, description, types, state, reason, position, failing_since, failing_told_at, updated_at),
  DELETE
  ON webhooks TO sluice_front;
GRANT SELECT ON webhook_signer, webhook_attempts TO sluice_front;
GRANT SELECT (id, webhook_id, created_at, ends_at), INSERT (webhook_id, sealed), UPDATE (ends_at)
  ON webhook_secrets TO sluice_front;
GRANT SELECT, UPDATE (state, tries, next_attempt_at, finished_at) ON webhook_deliveries TO sluice_front;
GRANT SELECT, INSERT (webhook_id, lane, due_at), UPDATE (due_at) ON webhook_lanes TO sluice_front;

-- The worker sends, and an operator's command line manages with its rights.
GRANT SELECT, INSERT, UPDATE, DELETE ON
  webhooks, webhook_secrets, webhook_deliveries, webhook_lanes TO sluice_worker;
GRANT SELECT, INSERT, UPDATE ON webhook_signer TO sluice_worker;
GRANT SELECT, INSERT ON webhook_attempts TO sluice_worker;
