"""The numbers of the stream of events: each given out once, by the one sequence."""

from __future__ import annotations

from shared.store.audit.rules import Invariant, Walk

STREAM = (
    Invariant(
        "payment_has_a_number_of_its_own",
        "Every payment has a number in the stream of events, and no two have the same.",
        """
        SELECT p.id, count(*) AS payments, min(p.aa_address) AS aa_address, max(p.aa_address) AS another_channel
          FROM all_payments AS p
         WHERE p.id > $1 AND p.id <= $2
         GROUP BY p.id
        HAVING count(*) > 1 OR p.id < 1
        """,
        Walk.PAYMENTS,
    ),
    Invariant(
        "numbers_are_not_shared",
        "No payment has the number of another event.",
        """
        SELECT e.id, e.kind, p.aa_address, p.period, p.amount_spent
          FROM events AS e JOIN all_payments AS p USING (id)
         WHERE e.id > $1 AND e.id <= $2
        """,
        Walk.EVENTS,
    ),
    Invariant(
        "numbers_were_given_out",
        "No number is beyond what the sequence has given out: otherwise it would be given out again.",
        """
        SELECT used.source, used.id, given.newest AS newest_given_out
          FROM (
            SELECT 'payments' AS source, max(id) AS id FROM all_payments UNION ALL SELECT 'events', max(id) FROM events
          ) AS used,
          (SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS newest FROM payments_id_seq) AS given
         WHERE used.id > given.newest
        """,
    ),
    Invariant(
        "forgotten_events_are_gone",
        "Where readers are told that events are forgotten, none is left.",
        """
        SELECT e.id, e.kind, e.recorded_at, event_stream.gone_id
          FROM events AS e, event_stream
         WHERE e.id <= event_stream.gone_id
        """,
    ),
)
