-- Keys that expire, channels that never saw a deposit, and how much one key may have under way.

-- ---------------------------------------------------------------------------------------------------- API keys

ALTER TABLE api_keys
  ADD COLUMN expires_at timestamptz,
  -- The key in whose place this one came.
  ADD COLUMN replaces bigint REFERENCES api_keys,
  ADD COLUMN last_used_from text CHECK (length(last_used_from) <= 64);

GRANT UPDATE (last_used_from) ON api_keys TO sluice_front;

-- Fronts remember keys they have looked at. Whoever changes what a key is worth tells them, in the transaction that
-- changes it: a hand in `psql` too. Noting when a key was used changes none of these columns.
CREATE FUNCTION tell_of_api_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('sluice_api_keys', OLD.id::text);
  RETURN NULL;
END
$$;

CREATE TRIGGER tell_of_api_key AFTER UPDATE OF scopes, revoked_at, expires_at OR DELETE ON api_keys
  FOR EACH ROW EXECUTE FUNCTION tell_of_api_key();

-- ---------------------------------------------------------------------------------------------------- commands

-- Who has ordered it; NULL: no key was needed.
ALTER TABLE commands ADD COLUMN api_key_id bigint REFERENCES api_keys;

CREATE INDEX commands_unfinished_of_key ON commands (api_key_id)
  WHERE state IN ('queued', 'running') AND api_key_id IS NOT NULL;

GRANT INSERT (api_key_id) ON commands TO sluice_front;

-- -------------------------------------------------------------------------------------- channels without a deposit

ALTER TABLE channels
  -- When its peer asked for it, or came back to it.
  ADD COLUMN asked_at timestamptz NOT NULL DEFAULT now(),
  -- Given up: it never saw a deposit, is not watched and counts for no limit.
  ADD COLUMN expired_at timestamptz,
  ADD CONSTRAINT channels_expired_saw_nothing CHECK (expired_at IS NULL OR (last_event_id = 0 AND NOT has_peer_units));

-- A given-up channel comes back to life with the first sign that somebody needs it, whoever sees the sign: its peer
-- asks for it again (`asked_at`, all that fronts may write), or the ledger shows something. It is then read from its
-- beginning, as a new one is.
CREATE FUNCTION revive_channel() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.expired_at := NULL;
  NEW.asked_at := now();
  NEW.is_watched := false;
  INSERT INTO events (kind, aa_address, data)
    VALUES ('channel_revived', NEW.aa_address, json_build_object('peer_address', NEW.peer_address, 'asset', NEW.asset));
  RETURN NEW;
END
$$;

CREATE TRIGGER revive_channel BEFORE UPDATE ON channels FOR EACH ROW
  WHEN (OLD.expired_at IS NOT NULL
        AND (NEW.asked_at > OLD.asked_at OR NEW.last_event_id > 0 OR NEW.has_peer_units))
  EXECUTE FUNCTION revive_channel();

CREATE INDEX channels_unfunded ON channels (peer_address) WHERE last_event_id = 0 AND expired_at IS NULL;
CREATE INDEX channels_expired ON channels (aa_address) WHERE expired_at IS NOT NULL;
CREATE INDEX channels_not_watched ON channels (aa_address) WHERE NOT is_watched AND expired_at IS NULL;

GRANT SELECT (asked_at, expired_at), UPDATE (asked_at) ON channels TO sluice_front;

-- -------------------------------------------------------------------------------------------- payments by their time

-- Payments lie in the order they came in: a few pages of summary find a day among years, and cost the hot path nothing.
CREATE INDEX payments_by_time ON payments USING brin (accepted_at) WITH (pages_per_range = 32, autosummarize = on);
