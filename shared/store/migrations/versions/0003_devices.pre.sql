-- Peers that are reached by encrypted device messages. All of it is the worker's: the fronts exchange no messages.

-- The receiver as a device. The private keys are sealed: who reads the database cannot read messages.
CREATE TABLE device_keys (
  is_the_one        boolean PRIMARY KEY DEFAULT true CHECK (is_the_one),
  pubkey            text NOT NULL CHECK (length(pubkey) = 44),
  hub               text NOT NULL CHECK (length(hub) BETWEEN 1 AND 200),
  temp_key          bytea NOT NULL CHECK (octet_length(temp_key) <= 128),
  previous_temp_key bytea CHECK (octet_length(previous_temp_key) <= 128),
  -- Whether a message was read with the current temporary key: one that nobody has used yet is not changed.
  is_used           boolean NOT NULL DEFAULT false,
  rotated_at        timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE correspondents (
  device_address text PRIMARY KEY CHECK (length(device_address) = 33),
  pubkey         text NOT NULL UNIQUE CHECK (length(pubkey) = 44),
  hub            text NOT NULL CHECK (length(hub) BETWEEN 1 AND 200),
  name           text NOT NULL CHECK (length(name) <= 100),
  -- False while we have asked to be paired and the other side has not answered.
  is_confirmed   boolean NOT NULL,
  paired_at      timestamptz NOT NULL DEFAULT now(),
  heard_at       timestamptz
);

CREATE INDEX correspondents_by_silence ON correspondents ((coalesce(heard_at, paired_at)));

CREATE TABLE pairing_secrets (
  -- SHA-256 of a random secret: nothing to guess, so nothing to slow down.
  secret_hash bytea PRIMARY KEY CHECK (octet_length(secret_hash) = 32),
  -- The one device that may use it; null for an invitation to whoever holds the code.
  for_device  text CHECK (length(for_device) = 33),
  expires_at  timestamptz NOT NULL
);

CREATE INDEX pairing_secrets_by_age ON pairing_secrets (expires_at);

-- Messages whose effect is stored. A hub sends a message again until it was told to delete it.
CREATE TABLE handled_messages (
  message_hash text PRIMARY KEY CHECK (length(message_hash) = 44),
  handled_at   timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX handled_messages_by_age ON handled_messages (handled_at);

-- "Which channels have we with this device?"
CREATE INDEX channels_of_device ON channels (peer_device) WHERE peer_device IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON device_keys TO sluice_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON correspondents, pairing_secrets, handled_messages TO sluice_worker;
