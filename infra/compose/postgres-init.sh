#!/bin/sh
# Runs once, when the cluster is made: the logins of infra/postgres/roles.sql with their passwords, and the database.
set -eu
psql --set ON_ERROR_STOP=1 --username postgres --dbname postgres --quiet --file /etc/sluice/roles.sql
psql --set ON_ERROR_STOP=1 --username postgres --dbname postgres --quiet <<'SQL'
\set migrator `cat /run/secrets/postgres_migrator.password`
\set front `cat /run/secrets/postgres_front.password`
\set worker `cat /run/secrets/postgres_worker.password`
ALTER ROLE sluice_migrator PASSWORD :'migrator';
ALTER ROLE sluice_front_login PASSWORD :'front';
ALTER ROLE sluice_worker_login PASSWORD :'worker';
CREATE DATABASE sluice OWNER sluice_migrator;
REVOKE ALL ON DATABASE sluice FROM PUBLIC;
GRANT CONNECT ON DATABASE sluice TO sluice_front, sluice_worker;
SQL
