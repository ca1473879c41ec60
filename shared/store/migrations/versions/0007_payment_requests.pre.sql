-- Payment requests: what somebody is asked to pay, and what came for it.
--
-- A payment names its request in its message, {"request": "<id>"}. The link is made in the payment's own transaction,
-- whichever door or release has taken it, so none is lost and none counts twice. It takes no lock of the request: payers
-- of one request never wait for each other, and neither does anybody whose payment shares their batch. What follows from
-- all payments together (paid, overpaid, expired) is told afterwards, by the worker, under the request's lock.

CREATE TABLE payment_requests (
  -- Random, 128 bits: whoever knows it may see the page.
  id              text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9_-]{22}$'),
  -- For lists, the newest first.
  number          bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  amount          bigint NOT NULL CHECK (amount BETWEEN 1 AND 9000000000000000),
  asset           text NOT NULL CHECK (length(asset) BETWEEN 1 AND 44),
  memo            text CHECK (length(memo) BETWEEN 1 AND 500),
  -- For the owner only, and for everyone who has the address of the page.
  metadata        json CHECK (octet_length(metadata::text) <= 8192),
  public_metadata json CHECK (octet_length(public_metadata::text) <= 8192),
  return_url      text CHECK (length(return_url) <= 1000),
  -- Null: by the command line.
  created_by      bigint REFERENCES api_keys,
  created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at      timestamptz,
  cancelled_at    timestamptz,
  -- What the payments come to that have been told of; what is not among them is added when the request is read. So a
  -- request is read as fast after a million payments as after one. `numeric`: people may pay too much, again and again.
  told_in_time    numeric(38, 0) NOT NULL DEFAULT 0 CHECK (told_in_time >= 0),
  told_late       numeric(38, 0) NOT NULL DEFAULT 0 CHECK (told_late >= 0),
  told_payments   bigint NOT NULL DEFAULT 0,
  -- Payments in other assets: credited to the channel, and no part of the sums.
  told_foreign    bigint NOT NULL DEFAULT 0,
  -- Whether it was paid in time or not has been decided, and told if it was not.
  is_expiry_told  boolean NOT NULL DEFAULT false
);

CREATE INDEX payment_requests_to_expire ON payment_requests (expires_at)
  WHERE expires_at IS NOT NULL AND NOT is_expiry_told;

CREATE TABLE request_payments (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- No reference: checking it would lock the request's row in the payment's transaction. Requests are never deleted.
  request_id  text NOT NULL,
  -- How the money came, and what it is called there: for `obyte` the number in `payments`.
  rail        text NOT NULL CHECK (length(rail) BETWEEN 1 AND 32),
  reference   text NOT NULL CHECK (length(reference) BETWEEN 1 AND 200),
  asset       text NOT NULL,
  amount      bigint NOT NULL CHECK (amount > 0),
  -- It is in the asset that was asked for.
  is_counted  boolean NOT NULL,
  -- The request had expired or was cancelled when it came.
  is_late     boolean NOT NULL,
  is_told     boolean NOT NULL DEFAULT false,
  received_at timestamptz NOT NULL,
  CONSTRAINT request_payments_once UNIQUE (rail, reference)
);

CREATE INDEX request_payments_of_request ON request_payments (request_id, id);
CREATE INDEX request_payments_to_tell ON request_payments (request_id, id) WHERE NOT is_told;

-- Which request a message names; null when none. Whatever strangers write must not fail a payment. The block that
-- catches errors writes nothing, so it costs no transaction id of its own.
CREATE FUNCTION request_named_by(message text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN CASE WHEN json_typeof(message::json) = 'object' AND json_typeof(message::json -> 'request') = 'string'
              THEN message::json ->> 'request' END;
EXCEPTION
  WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END
$$;

-- `clock_timestamp()` and not the beginning of the transaction: when this runs the transaction has an id, so whoever
-- waits for all older ones after the expiry knows that no payment in time is still to come.
CREATE FUNCTION link_payment_to_request() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  moment timestamptz := clock_timestamp();
BEGIN
  INSERT INTO request_payments (request_id, rail, reference, asset, amount, is_counted, is_late, received_at)
  SELECT r.id, 'obyte', NEW.id::text, NEW.asset, NEW.payment_amount, r.asset = NEW.asset,
         coalesce(r.expires_at <= moment, false) OR r.cancelled_at IS NOT NULL, moment
    FROM payment_requests r
   WHERE r.id = request_named_by(NEW.message);
  RETURN NULL;
END
$$;

-- Payments that name no request pay for one look at the length of their message, or at its text.
CREATE TRIGGER link_payment_to_request AFTER INSERT ON payments
  FOR EACH ROW WHEN (NEW.message LIKE '%"request"%') EXECUTE FUNCTION link_payment_to_request();

CREATE FUNCTION tell_of_cancelled_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO events (kind, data) VALUES (
    'payment_request_cancelled', json_build_object('request', NEW.id, 'amount', NEW.amount, 'asset', NEW.asset)
  );
  RETURN NULL;
END
$$;

CREATE TRIGGER tell_of_cancelled_request AFTER UPDATE OF cancelled_at ON payment_requests
  FOR EACH ROW WHEN (OLD.cancelled_at IS NULL AND NEW.cancelled_at IS NOT NULL)
  EXECUTE FUNCTION tell_of_cancelled_request();

GRANT
  SELECT,
  INSERT (id, amount, asset, memo, metadata, public_metadata, return_url, created_by, expires_at),
  UPDATE (cancelled_at)
  ON payment_requests TO sluice_front, sluice_worker;
GRANT UPDATE (told_in_time, told_late, told_payments, told_foreign, is_expiry_told) ON payment_requests TO sluice_worker;
GRANT
  SELECT,
  INSERT (request_id, rail, reference, asset, amount, is_counted, is_late, received_at)
  ON request_payments TO sluice_front, sluice_worker;
GRANT UPDATE (is_told) ON request_payments TO sluice_worker;

-- Answers are also kept of requests that are carried out at once, without a command.
ALTER TABLE kept_answers ALTER COLUMN command_id DROP NOT NULL;
ALTER TABLE kept_answers
  ADD CONSTRAINT kept_answers_without_command_are_complete CHECK (command_id IS NOT NULL OR status IS NOT NULL);
