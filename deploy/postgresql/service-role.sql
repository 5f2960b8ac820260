-- A role for the services that owns nothing: it works with every row, and the history it only adds to.
-- By the owner of the tables, after each `kontaktpflege migrate` (a new table brings rights of its own), as often as you like:
--   psql -v ON_ERROR_STOP=1 -v role=kontaktpflege_service -d kontaktpflege -f service-role.sql
-- The role itself is made by an administrator: CREATE ROLE kontaktpflege_service LOGIN PASSWORD '...';
BEGIN;
GRANT USAGE ON SCHEMA public TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :"role";
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO :"role";
-- The schema's version is for whoever migrates.
REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM :"role";
-- Of the history only what reduction erases may be emptied (a trigger sees to it that it is emptied, not rewritten).
REVOKE UPDATE, DELETE ON events, event_seals FROM :"role";
GRANT UPDATE (old, new, reason) ON events TO :"role";
GRANT UPDATE (salt) ON event_seals TO :"role";
COMMIT;
