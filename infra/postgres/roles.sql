-- Who may do what in a production database, once per cluster and before the first `sluice migrate`.
--
--   psql --dbname=postgres --file=infra/postgres/roles.sql
--   psql --dbname=postgres --command='CREATE DATABASE sluice OWNER sluice_migrator'
--   psql --dbname=postgres --command='ALTER DATABASE sluice SET log_error_verbosity = terse'
--
-- The last one keeps signed packages out of the server's log, which would quote a row that it refuses.
--
-- Then give the three logins passwords (`\password sluice_front_login` …) and use one each:
--
--   sluice_migrator       `sluice migrate`; owns the tables, so nothing that runs all day uses it
--   sluice_front_login    the fronts: cannot read claims, cannot touch the wallet's tables
--   sluice_worker_login   the worker and `sluice` as an operator's tool: everything but ownership
--
-- Running it twice changes nothing. Without it one login may do everything; each process still steps down to its role.

DO $$
DECLARE
  wanted record;
BEGIN
  FOR wanted IN
    SELECT * FROM (VALUES
      ('sluice_front', 'NOLOGIN'),
      ('sluice_worker', 'NOLOGIN'),
      ('sluice_migrator', 'LOGIN'),
      ('sluice_front_login', 'LOGIN'),
      ('sluice_worker_login', 'LOGIN')
    ) AS roles (name, kind)
  LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted.name) THEN
      EXECUTE format('CREATE ROLE %I %s', wanted.name, wanted.kind);
    END IF;
  END LOOP;
END
$$;

GRANT sluice_front TO sluice_front_login;
GRANT sluice_worker TO sluice_worker_login;
