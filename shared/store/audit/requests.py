"""Payment requests against the payments that were made for them, and channels that were given up."""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from shared.store.audit.rules import Invariant, Walk

_OF_PAYMENT = "CASE WHEN l.rail = 'obyte' AND l.reference ~ '^[0-9]{1,18}$' THEN l.reference::bigint END"

REQUESTS = (
    Invariant(
        "payment_is_linked_to_its_request",
        "A payment whose message names a payment request is on record as one for it.",
        """
        SELECT p.id, p.aa_address, p.period, p.amount_spent, p.payment_amount, r.id AS request
          FROM all_payments AS p
          JOIN payment_requests AS r
            ON r.id = CASE WHEN p.message LIKE '%"request"%' THEN request_named_by(p.message) END
         WHERE p.id > $1 AND p.id <= $2 AND r.created_at < p.accepted_at
           AND NOT EXISTS (
             SELECT FROM request_payments AS l
              WHERE l.rail = 'obyte' AND l.reference = p.id::text AND l.request_id = r.id
           )
        """,
        Walk.PAYMENTS,
    ),
    Invariant(
        "request_was_paid_by_the_payment",
        "What came for a payment request is a payment of that amount, and counts if it is in the asset asked for.",
        f"""
        SELECT l.id, l.request_id, l.reference AS payment, l.amount, p.payment_amount, l.asset,
               p.asset AS asset_of_payment, l.is_counted, r.asset AS asset_asked_for
          FROM request_payments AS l
          LEFT JOIN payment_requests AS r ON r.id = l.request_id
          LEFT JOIN all_payments AS p ON p.id = {_OF_PAYMENT}
         WHERE l.id > $1 AND l.id <= $2
           AND (r.id IS NULL OR l.is_counted <> (l.asset = r.asset)
                OR (l.rail = 'obyte'
                    AND NOT (p.id IS NULL AND EXISTS (
                      SELECT FROM payments_months AS m
                       WHERE m.dropped_at IS NOT NULL
                         AND m.month IN (
                           date_trunc('month', l.received_at AT TIME ZONE 'UTC')::date,
                           -- Payments are dated by the beginning of their transaction.
                           date_trunc('month', (l.received_at - interval '1 minute') AT TIME ZONE 'UTC')::date
                         )
                    ))
                    AND (l.amount, l.asset) IS DISTINCT FROM (p.payment_amount, p.asset)))
        """,
        Walk.REQUEST_PAYMENTS,
    ),
    Invariant(
        "request_sums_add_up",
        "What was told of a payment request is what its payments come to that were told of.",
        """
        SELECT r.id, r.told_in_time, told.in_time, r.told_late, told.late, r.told_payments, told.number AS payments,
               r.told_foreign, told.of_other_assets
          FROM payment_requests AS r
         CROSS JOIN LATERAL (
            SELECT coalesce(sum(l.amount) FILTER (WHERE l.is_counted AND NOT l.is_late), 0) AS in_time,
                   coalesce(sum(l.amount) FILTER (WHERE l.is_counted AND l.is_late), 0) AS late,
                   count(*) AS number, count(*) FILTER (WHERE NOT l.is_counted) AS of_other_assets
              FROM request_payments AS l
             WHERE l.request_id = r.id AND l.is_told
          ) AS told
         WHERE r.number > $1 AND r.number <= $2
           AND (r.told_in_time, r.told_late, r.told_payments, r.told_foreign)
               <> (told.in_time, told.late, told.number, told.of_other_assets)
        """,
        Walk.REQUESTS,
    ),
    Invariant(
        "given_up_channel_is_empty",
        "In a channel that was given up, because it never saw a deposit, nothing was ever paid or deposited.",
        """
        SELECT c.aa_address, c.expired_at, c.spent_by_peer, c.spent_by_me
          FROM channels AS c
         WHERE c.aa_address > $1 AND c.aa_address <= $2 AND c.expired_at IS NOT NULL
           AND (c.spent_by_peer > 0 OR c.spent_by_me > 0
                OR EXISTS (SELECT FROM all_payments AS p WHERE p.aa_address = c.aa_address)
                OR EXISTS (SELECT FROM deposits AS d WHERE d.aa_address = c.aa_address AND d.state <> 'bounced'))
        """,
        Walk.CHANNELS,
    ),
)
