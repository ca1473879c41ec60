"""The payer's tables: what SQL can say about money, it says here.

meta         facts: network, address, pinned order providers, the latest time that was proven
channels     one row per channel, as `shared.channels` sees it, with its receiver
payments     every package ever signed; no two of one period and channel have the same total
journal      every unit ever made for a channel, before it was posted
units        units proven stable that touch the wallet or a channel
settlements  how periods ended
"""

from __future__ import annotations

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE channels (
  aa_address TEXT PRIMARY KEY,
  peer_url TEXT NOT NULL,
  is_known_by_peer INTEGER NOT NULL CHECK (is_known_by_peer IN (0, 1)),
  salt TEXT,
  version TEXT NOT NULL,
  own_address TEXT NOT NULL,
  peer_address TEXT NOT NULL,
  asset TEXT NOT NULL,
  timeout_s INTEGER NOT NULL CHECK (timeout_s > 0),
  status TEXT NOT NULL,
  period INTEGER NOT NULL CHECK (period >= 0),
  deposited_by_peer INTEGER NOT NULL CHECK (deposited_by_peer >= 0),
  deposited_by_me INTEGER NOT NULL CHECK (deposited_by_me >= 0),
  spent_by_peer INTEGER NOT NULL CHECK (spent_by_peer >= 0),
  spent_by_me INTEGER NOT NULL CHECK (spent_by_me >= 0),
  credit INTEGER NOT NULL CHECK (credit BETWEEN 0 AND spent_by_peer),
  claim TEXT,
  period_closed_by_me INTEGER NOT NULL CHECK (period_closed_by_me >= 0),
  close_started_at_s INTEGER,
  claimed_by_peer INTEGER,
  last_event_id INTEGER NOT NULL CHECK (last_event_id >= 0),
  definition_confirmed INTEGER NOT NULL CHECK (definition_confirmed IN (0, 1)),
  created_at_s REAL NOT NULL,
  UNIQUE (peer_url, salt)
) STRICT;
CREATE TABLE payments (
  id INTEGER PRIMARY KEY,
  aa_address TEXT NOT NULL REFERENCES channels,
  period INTEGER NOT NULL CHECK (period > 0),
  payment_amount INTEGER NOT NULL CHECK (payment_amount > 0),
  amount_spent INTEGER NOT NULL CHECK (amount_spent >= payment_amount),
  package TEXT NOT NULL,
  message TEXT,
  state TEXT NOT NULL CHECK (state IN ('signed', 'accepted', 'refused')),
  answer TEXT,
  created_at_s REAL NOT NULL,
  UNIQUE (aa_address, period, amount_spent)
) STRICT;
CREATE TABLE journal (
  unit TEXT PRIMARY KEY,
  purpose TEXT NOT NULL CHECK (purpose IN ('open', 'deposit', 'close', 'confirm', 'fraud_proof')),
  aa_address TEXT NOT NULL REFERENCES channels,
  period INTEGER NOT NULL,
  amount INTEGER NOT NULL CHECK (amount >= 0),
  joint TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('composed', 'posted', 'done', 'bounced', 'failed', 'replaced')),
  reason TEXT,
  created_at_s REAL NOT NULL
) STRICT;
CREATE INDEX journal_on_its_way ON journal (aa_address) WHERE state IN ('composed', 'posted');
CREATE TABLE units (
  unit TEXT PRIMARY KEY,
  content TEXT NOT NULL,
  is_nonserial INTEGER NOT NULL CHECK (is_nonserial IN (0, 1)),
  mci INTEGER
) STRICT;
CREATE TABLE settlements (
  aa_address TEXT NOT NULL REFERENCES channels,
  period INTEGER NOT NULL,
  summary TEXT NOT NULL,
  PRIMARY KEY (aa_address, period)
) STRICT;
"""
