"""The archive of payments: what is in it belongs there, and its sums are those of its payments."""

from __future__ import annotations

from shared.store.audit.rules import Invariant, Walk

ARCHIVE = (
    Invariant(
        "archived_period_is_finished",
        "A payment in the archive is one of a channel on record, and of a period that is over.",
        """
        SELECT p.aa_address, p.period, p.amount_spent, c.period AS period_of_channel, c.status
          FROM payments_archive AS p LEFT JOIN channels AS c USING (aa_address)
         WHERE p.aa_address > $1 AND p.aa_address <= $2
           AND (c.aa_address IS NULL OR p.period >= c.period + (c.status = 'closed')::int)
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "archive_adds_up",
        "What is kept as the sum of a channel's archived payments of a month is what they come to.",
        """
        SELECT aa_address, month, asset, kept.payments, kept.amount, found.payments AS payments_found,
               found.amount AS amount_found
          FROM (
            SELECT b.* FROM payments_by_month AS b JOIN payments_months AS m USING (month)
             WHERE b.aa_address > $1 AND b.aa_address <= $2 AND m.dropped_at IS NULL
          ) AS kept
          FULL JOIN (
            SELECT p.aa_address, date_trunc('month', p.accepted_at AT TIME ZONE 'UTC')::date AS month, p.asset,
                   count(*) AS payments, sum(p.payment_amount) AS amount
              FROM payments_archive AS p
             WHERE p.aa_address > $1 AND p.aa_address <= $2
             GROUP BY 1, 2, 3
          ) AS found USING (aa_address, month, asset)
         WHERE (kept.payments, kept.amount) IS DISTINCT FROM (found.payments, found.amount)
        """,
        Walk.CHANNELS,
    ),
)
