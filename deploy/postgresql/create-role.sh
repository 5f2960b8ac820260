#!/bin/sh
# Run by the PostgreSQL image on an empty volume. The application owns its database and is no superuser; the services work as roles
# that own nothing, and `kontaktpflege migrate --grant` says what each of them may do. Again it makes what is missing:
#   docker compose exec postgres sh /docker-entrypoint-initdb.d/10-create-role.sh
set -eu
for share in app service public mailbox; do
    export SHARE="$share" ROLE="kontaktpflege_$share"
    [ "$share" != app ] || ROLE=kontaktpflege
    # psql reads the password itself: in an argument it would stand in the process list.
    psql -v ON_ERROR_STOP=1 -v "role=$ROLE" --username postgres <<'SQL'
\set password `cat "/run/secrets/postgres_${SHARE}_password"`
SELECT format('CREATE ROLE %I LOGIN', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" PASSWORD :'password';
SQL
done
psql -v ON_ERROR_STOP=1 --username postgres <<'SQL'
SELECT $$CREATE DATABASE kontaktpflege OWNER kontaktpflege ENCODING 'UTF8' TEMPLATE template0 LOCALE 'C.UTF-8'$$
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'kontaktpflege') \gexec
REVOKE ALL ON DATABASE kontaktpflege FROM PUBLIC;
GRANT CONNECT ON DATABASE kontaktpflege TO kontaktpflege_service, kontaktpflege_public, kontaktpflege_mailbox;
-- Every plan needs a temporary table.
GRANT TEMPORARY ON DATABASE kontaktpflege TO kontaktpflege_service;
SQL
