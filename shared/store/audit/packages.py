"""Signed packages, to be looked at one by one: statements that read them, for `shared.audit.packages` to judge.

What they return is secret and is shown to nobody.
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

_CURRENT = "c.period + (c.status = 'closed')::int"

CLAIMS = f"""
    SELECT c.aa_address, {_CURRENT} AS period, c.spent_by_peer AS amount_spent, NULL::bigint AS payment_amount,
           c.peer_address AS signer, c.claim AS package
      FROM channels AS c
     WHERE c.aa_address > $1 AND c.aa_address <= $2 AND c.claim IS NOT NULL
     ORDER BY c.aa_address
"""

SENT_PACKAGES = """
    SELECT s.aa_address, s.period, s.amount_spent, s.payment_amount, c.own_address AS signer, s.package
      FROM sent_payments AS s JOIN channels AS c USING (aa_address)
     WHERE s.aa_address > $1 AND s.aa_address <= $2
     ORDER BY s.aa_address, s.period, s.amount_spent
"""

ADDRESSES = """
    SELECT c.aa_address, c.own_address, c.peer_address, c.asset, c.timeout_s, c.salt, c.version, c.role
      FROM channels AS c
     WHERE c.aa_address > $1 AND c.aa_address <= $2
     ORDER BY c.aa_address
"""
