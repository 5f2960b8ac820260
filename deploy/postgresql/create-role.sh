#!/bin/sh
# Run once by the PostgreSQL image on an empty volume: the application owns its database and is no superuser.
set -eu
# psql reads the password itself: in an argument it would stand in the process list.
psql -v ON_ERROR_STOP=1 --username postgres <<'SQL'
\set password `cat /run/secrets/postgres_app_password`
CREATE ROLE kontaktpflege LOGIN PASSWORD :'password';
CREATE DATABASE kontaktpflege OWNER kontaktpflege ENCODING 'UTF8' TEMPLATE template0 LOCALE 'C.UTF-8';
SQL
