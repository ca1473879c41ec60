-- Lanes of webhooks are bounded: one busy channel does not fill a whole webhook.
--
-- A lane that has as many deliveries waiting as it may is held: its further events stay in the stream, while the
-- webhook's position moves on. From `held_from` up to the position no event of the lane was written down since; when
-- enough of it was sent, it is planned on from there. The row goes in the transaction that reaches the position.
--
-- A table of its own: a row in `webhook_lanes` says that something waits to be sent, and goes when nothing does.

CREATE TABLE webhook_held_lanes (
  webhook_id bigint NOT NULL REFERENCES webhooks ON DELETE CASCADE,
  lane       text NOT NULL,
  held_from  bigint NOT NULL CHECK (held_from > 0),
  -- When the first event that is held happened, or one before it.
  event_at   timestamptz NOT NULL,
  PRIMARY KEY (webhook_id, lane)
);

-- What waits in a lane. No other index is about `finished_at IS NULL`: the one for the oldest delivery of a webhook was
-- read in its place, past all other lanes, as long as there were no statistics.
CREATE INDEX webhook_deliveries_by_lane ON webhook_deliveries (webhook_id, lane, event_id) WHERE finished_at IS NULL;

-- As before, and what a held lane still has to read stays as well.
CREATE OR REPLACE FUNCTION archive_payments(
  after_channel text, channels_at_once integer, rows_at_once integer, older_than_s double precision,
  OUT moved integer, OUT last_channel text
) LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  cutoff timestamptz := now() - make_interval(secs => older_than_s);
  -- Only what has left the stream of events for every reader: events are forgotten in the order of their numbers, and
  -- a webhook that is at work must find what it has not delivered.
  horizon bigint := least(
    (SELECT min(e.id) FROM events AS e),
    (SELECT min(w.position) + 1 FROM webhooks AS w WHERE w.state = 'active'),
    (SELECT min(d.event_id) FROM webhook_deliveries AS d JOIN webhooks AS w ON w.id = d.webhook_id
      WHERE d.state = 'pending' AND w.state = 'active'),
    (SELECT min(h.held_from) FROM webhook_held_lanes AS h JOIN webhooks AS w ON w.id = h.webhook_id
      WHERE w.state = 'active')
  );
  chosen record;
BEGIN
  SELECT max(page.aa_address) INTO last_channel
    FROM (SELECT c.aa_address FROM channels AS c WHERE c.aa_address > after_channel
           ORDER BY c.aa_address LIMIT channels_at_once) AS page;
  SELECT array_agg(p.aa_address) AS addresses, array_agg(p.period) AS periods, array_agg(p.amount_spent) AS spent,
         array_agg(p.payment_amount) AS amounts, array_agg(DISTINCT p.month) AS months
    INTO chosen
    FROM (
      SELECT old.*
        FROM channels AS c
       CROSS JOIN LATERAL (
          SELECT max(e.period) AS period FROM ledger_events AS e
           WHERE e.aa_address = c.aa_address AND e.kind = 'closed' AND e.seen_at < cutoff
        ) AS closed
       CROSS JOIN LATERAL (
          SELECT p.aa_address, p.period, p.amount_spent, p.payment_amount,
                 date_trunc('month', p.accepted_at AT TIME ZONE 'UTC')::date AS month
            FROM payments AS p
           WHERE p.aa_address = c.aa_address AND p.period <= closed.period
             AND p.period < c.period + (c.status = 'closed')::integer
             AND p.accepted_at < cutoff AND (horizon IS NULL OR p.id < horizon)
           ORDER BY p.period, p.amount_spent
           LIMIT rows_at_once
        ) AS old
       WHERE c.aa_address > after_channel AND c.aa_address <= last_channel
       LIMIT rows_at_once
    ) AS p;
  moved := coalesce(cardinality(chosen.addresses), 0);
  IF moved = 0 THEN
    RETURN;
  END IF;
  PERFORM make_payments_month(month) FROM unnest(chosen.months) AS month;
  WITH gone AS (
    DELETE FROM payments AS p
     USING unnest(chosen.addresses, chosen.periods, chosen.spent, chosen.amounts)
           AS t (aa_address, period, amount_spent, payment_amount)
     WHERE p.aa_address = t.aa_address AND p.period = t.period AND p.amount_spent = t.amount_spent
       AND p.payment_amount = t.payment_amount
    RETURNING p.*, date_trunc('month', p.accepted_at AT TIME ZONE 'UTC')::date AS month
  ), kept AS (
    INSERT INTO payments_archive
      (id, aa_address, period, amount_spent, payment_amount, asset, message, response, accepted_at)
    SELECT id, aa_address, period, amount_spent, payment_amount, asset, message, response, accepted_at
      FROM gone JOIN payments_months AS m USING (month)
     WHERE m.dropped_at IS NULL
  ), summed AS (
    INSERT INTO payments_by_month AS b (aa_address, month, asset, payments, amount)
    SELECT aa_address, month, asset, count(*), sum(payment_amount) FROM gone
     GROUP BY aa_address, month, asset ORDER BY aa_address, month, asset
    ON CONFLICT (aa_address, month, asset)
      DO UPDATE SET payments = b.payments + excluded.payments, amount = b.amount + excluded.amount
  )
  -- Whoever reads the stream from before these is told that something is missing.
  UPDATE event_stream SET gone_id = greatest(gone_id, (SELECT max(id) FROM gone));
END
$$;

-- A function that is replaced loses its settings, and keeps its grants.
DO $$
BEGIN
  EXECUTE format('ALTER FUNCTION archive_payments(text, integer, integer, double precision) SET search_path = %I, pg_temp',
                 current_schema());
END
$$;

-- The fronts show how much waits, and take holds away when they move a position back.
GRANT SELECT, DELETE ON webhook_held_lanes TO sluice_front;
-- To hold a lane is allowed by the contracting step, when no worker of the previous release is left.
GRANT SELECT, UPDATE, DELETE ON webhook_held_lanes TO sluice_worker;
