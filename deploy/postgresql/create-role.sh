#!/bin/sh
# Run once by the PostgreSQL image on an empty volume: the application owns its database and is no superuser.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$(cat /run/secrets/postgres_app_password)" --username postgres <<'SQL'
CREATE ROLE kontaktpflege LOGIN PASSWORD :'password';
CREATE DATABASE kontaktpflege OWNER kontaktpflege ENCODING 'UTF8' TEMPLATE template0 LOCALE 'C.UTF-8';
SQL
