-- Answers to requests that carry an Idempotency-Key, and what the fronts may know of what we have paid.

-- What a request under a key has led to. The command behind it has a key of its own and is kept for good: after this
-- row is forgotten the same request is still not carried out a second time.
CREATE TABLE kept_answers (
  api_key_id      bigint NOT NULL REFERENCES api_keys,
  idempotency_key text NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 255),
  -- SHA-256 of method, path and body.
  request_hash    bytea NOT NULL CHECK (octet_length(request_hash) = 32),
  command_id      bigint NOT NULL REFERENCES commands,
  -- While a front waits for the outcome; it may die meanwhile, so only until then.
  waiting_until   timestamptz,
  -- No package is ever part of it but sealed (`shared.sealing`).
  status          integer CHECK (status BETWEEN 200 AND 499),
  body            json,
  created_at      timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (api_key_id, idempotency_key),
  CONSTRAINT kept_answers_answer_is_complete CHECK ((status IS NULL) = (body IS NULL))
);

CREATE INDEX kept_answers_by_age ON kept_answers (created_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON kept_answers TO sluice_front;
GRANT SELECT ON kept_answers TO sluice_worker;

-- What we have paid, without the packages: those are bearer secrets, like the claims.
GRANT
  SELECT (aa_address, period, amount_spent, payment_amount, command_id, message, state, answer, signed_at, settled_at)
  ON sent_payments TO sluice_front;

-- Those whose fate has to be looked after.
CREATE INDEX sent_payments_unsettled ON sent_payments (aa_address) WHERE state IN ('signed', 'uncertain');

-- What is on its way counts for what can be spent.
GRANT SELECT ON deposits TO sluice_front;
