-- Payments of finished periods move to an archive by month: what takes payments stays small, and old months can go.
--
-- `payments` keeps the money as its key: "credited once" could not be unique over partitions by time. A payment is in
-- exactly one of the two tables, because one statement deletes it here and inserts it there. Both functions act with
-- their owner's rights: the worker may move payments, and delete none. It may call them after the contracting step
-- only, when no process of the previous release is left, which would not find what has moved.

CREATE TABLE payments_archive (
  id             bigint NOT NULL,
  -- No reference: adding a month would lock `channels`. Channels are never deleted, and the audit looks.
  aa_address     text NOT NULL,
  period         bigint NOT NULL,
  amount_spent   bigint NOT NULL,
  payment_amount bigint NOT NULL,
  asset          text NOT NULL,
  message        text,
  response       text CHECK (octet_length(response) <= 65536),
  accepted_at    timestamptz NOT NULL,
  PRIMARY KEY (aa_address, period, amount_spent, payment_amount, accepted_at)
) PARTITION BY RANGE (accepted_at);

CREATE INDEX payments_archive_by_id ON payments_archive (id);

-- Months by the calendar of UTC. Of a month that was dropped the sums are left: of payments that come later, too.
CREATE TABLE payments_months (
  month      date PRIMARY KEY CHECK (extract(day FROM month) = 1),
  dropped_at timestamptz
);

-- What was ever archived, by channel and month: so statements still begin with the right balance.
CREATE TABLE payments_by_month (
  aa_address text NOT NULL,
  month      date NOT NULL,
  asset      text NOT NULL,
  payments   bigint NOT NULL CHECK (payments > 0),
  amount     numeric(38, 0) NOT NULL CHECK (amount > 0),
  PRIMARY KEY (aa_address, month, asset)
);

CREATE VIEW all_payments AS
  SELECT id, aa_address, period, amount_spent, payment_amount, asset, message, response, accepted_at
    FROM payments
  UNION ALL
  SELECT id, aa_address, period, amount_spent, payment_amount, asset, message, response, accepted_at
    FROM payments_archive;

-- Moves payments of the next channels after `after_channel`: at most so many payments, of at most so many channels, of
-- periods whose end was seen longer ago than `older_than_s`. `moved` = `rows_at_once`: there may be more of these
-- channels. `last_channel`: the last one of the page, null after the end.
CREATE FUNCTION archive_payments(
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
      WHERE d.state = 'pending' AND w.state = 'active')
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

-- A table of its own that is attached afterwards: neither readers nor payments wait for it.
CREATE FUNCTION make_payments_month(month date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  name text := 'payments_archive_' || to_char(month, 'YYYY_MM');
BEGIN
  INSERT INTO payments_months (month) VALUES (make_payments_month.month) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  EXECUTE format('CREATE TABLE %I (LIKE payments_archive INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)',
                 name);
  EXECUTE format('CREATE INDEX %I ON %I USING brin (accepted_at) WITH (pages_per_range = 32, autosummarize = on)',
                 name || '_by_time', name);
  EXECUTE format('ALTER TABLE payments_archive ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name,
                 month::timestamp AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
END
$$;

-- Drops the oldest month if all of it is older than this, and returns it; null without any. Its sums stay.
CREATE FUNCTION drop_payments_month(older_than_s double precision) RETURNS date LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  gone date;
BEGIN
  UPDATE payments_months SET dropped_at = now()
   WHERE month = (SELECT min(month) FROM payments_months WHERE dropped_at IS NULL)
     AND (month + interval '1 month') AT TIME ZONE 'UTC' < now() - make_interval(secs => older_than_s)
  RETURNING month INTO gone;
  IF gone IS NOT NULL THEN
    -- Waits for those who read the archive, and everyone who wants to read it waits behind: hence not for long.
    PERFORM set_config('lock_timeout', '500ms', true);
    EXECUTE format('DROP TABLE %I', 'payments_archive_' || to_char(gone, 'YYYY_MM'));
  END IF;
  RETURN gone;
END
$$;

-- What runs with its owner's rights finds its tables here and nowhere else, whatever its caller has set.
DO $$
DECLARE
  function_name text;
BEGIN
  FOREACH function_name IN ARRAY ARRAY[
    'archive_payments(text, integer, integer, double precision)', 'drop_payments_month(double precision)',
    'make_payments_month(date)'
  ] LOOP
    EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', function_name, current_schema());
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function_name);
  END LOOP;
END
$$;

GRANT SELECT ON all_payments, payments_months, payments_by_month TO sluice_front, sluice_worker;
-- The application may answer a payment that is sent again long afterwards.
GRANT SELECT, UPDATE (response) ON payments_archive TO sluice_front, sluice_worker;
