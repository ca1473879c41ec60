-- What happened, for whoever wants to hear of it: one stream, in one order, that skips nothing.
--
-- A payment is an event by being a row of `payments`; everything else has a row here. Both take their numbers from the
-- sequence of the payments' ids, so the stream is the two tables merged by id, and payments pay nothing for it.
--
-- A reader must know which numbers are decided: whether those it does not see will ever come. It reads the sequence,
-- then takes a transaction id of its own, and waits until no older transaction runs. So whoever takes a number must
-- have a transaction id by then. Acceptance has: it has locked the channels. For events the function sees to it.
CREATE FUNCTION next_event_id() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_current_xact_id();
  RETURN nextval('payments_id_seq');
END
$$;

CREATE TABLE events (
  id          bigint PRIMARY KEY DEFAULT next_event_id(),
  kind        text NOT NULL CHECK (length(kind) BETWEEN 1 AND 64),
  -- No reference: history outlives limits on where channels are stored.
  aa_address  text CHECK (length(aa_address) = 32),
  -- For everyone with a key to read: no package, no claim, nothing that is worth money.
  data        json NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE event_stream (
  is_the_one boolean PRIMARY KEY DEFAULT true CHECK (is_the_one),
  -- Part of every cursor. A restored database gives numbers out a second time: it is another stream.
  name       text NOT NULL,
  -- Events up to this number may have been forgotten.
  gone_id    bigint NOT NULL CHECK (gone_id >= 0)
);

INSERT INTO event_stream (name, gone_id)
  SELECT left(md5(gen_random_uuid()::text), 8), CASE WHEN is_called THEN last_value ELSE 0 END FROM payments_id_seq;

-- Whatever follows from one row alone is told by the row's own table, whichever statement or release writes it.

CREATE FUNCTION tell_of_channel() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO events (kind, aa_address, data) VALUES (
    'channel_created_by_peer', NEW.aa_address,
    json_build_object('peer_address', NEW.peer_address, 'asset', NEW.asset, 'timeout_s', NEW.timeout_s,
                      'version', NEW.version)
  );
  RETURN NULL;
END
$$;

CREATE TRIGGER tell_of_channel AFTER INSERT ON channels
  FOR EACH ROW WHEN (NEW.role = 'A') EXECUTE FUNCTION tell_of_channel();

-- Results may hold packages that we have signed, and reasons the words of peers: of both only the code is told.
CREATE FUNCTION tell_of_command() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO events (kind, aa_address, data) VALUES (
    'command_' || NEW.state, NEW.aa_address,
    json_build_object('command_id', NEW.id, 'command', NEW.kind, 'code', left(split_part(NEW.error, ':', 1), 64))
  );
  RETURN NULL;
END
$$;

CREATE TRIGGER tell_of_command AFTER UPDATE OF state ON commands
  FOR EACH ROW WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL) EXECUTE FUNCTION tell_of_command();

CREATE FUNCTION tell_of_alarm() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO events (kind, data) VALUES (
      'alarm_raised',
      json_build_object('alarm', NEW.kind, 'subject', NEW.subject, 'severity', NEW.severity, 'facts', NEW.facts)
    );
  ELSE
    INSERT INTO events (kind, data) VALUES (
      'alarm_cleared', json_build_object('alarm', OLD.kind, 'subject', OLD.subject, 'severity', OLD.severity)
    );
  END IF;
  RETURN NULL;
END
$$;

CREATE TRIGGER tell_of_alarm AFTER INSERT OR DELETE ON alarms FOR EACH ROW EXECUTE FUNCTION tell_of_alarm();

GRANT USAGE, SELECT ON SEQUENCE payments_id_seq TO sluice_front, sluice_worker;
GRANT SELECT, INSERT (kind, aa_address, data) ON events TO sluice_front, sluice_worker;
GRANT DELETE ON events TO sluice_worker;
GRANT SELECT ON event_stream TO sluice_front;
GRANT SELECT, UPDATE (name, gone_id) ON event_stream TO sluice_worker;
