"""Invented applicants by the million, written by the database itself: the import is measured elsewhere."""

from datetime import date

import psycopg

#: The day on which everything is decided.
TODAY = date(2026, 11, 23)
CONTACTS_EACH = 3

#: Every tenth application is a second one of the person before.
_PERSONS = """
INSERT INTO persons (id, identity)
SELECT n, 'set:' || n FROM generate_series(%(first)s::bigint, %(last)s) n WHERE n %% 10 <> 0
"""

#: Every second pair is in the pool (the setup's second status), the others anywhere.
_APPLICATIONS = """
INSERT INTO applications (id, external_id, person_id, kind, salutation, first_name, last_name, birth_date,
  birth_month_day, email, usable_email, vacancy, vacancy_folded, department, department_folded, recruiter,
  recruiter_folded, status_id, received_on, in_pool, last_contact_at, last_outgoing_at)
SELECT n, 'A' || n, CASE WHEN n %% 10 = 0 THEN n - 1 ELSE n END, 'application',
  (ARRAY['female', 'male'])[1 + n %% 2], 'Vorname' || n %% 1000, 'Müller-' || n, born,
  extract(month FROM born)::int * 100 + extract(day FROM born)::int, address, address, 'Elektroniker', 'elektroniker',
  'Technik', 'technik', 'a.weber', 'a.weber',
  (ARRAY(SELECT id FROM application_statuses ORDER BY id))[CASE WHEN (n + 1) / 2 %% 2 = 1 THEN 2 ELSE 1 + n %% 10 END],
  %(today)s::date - (n * 13 %% 1500)::int, false, latest, latest
FROM (
  SELECT n, date '1960-01-01' + (n * 7919 %% 16000)::int AS born,
    CASE WHEN n %% 50 <> 0 THEN 'a' || n || '@d' || n %% 5000 || '.example' END AS address,
    %(today)s::timestamptz - make_interval(days => (n * 17 %% 500)::int) - interval '6 hours' AS latest
  FROM generate_series(%(first)s::bigint, %(last)s) n
) AS drawn
"""

_CONTACTS = f"""
INSERT INTO contact_entries (identity, application_id, at, medium, direction, subject)
SELECT 'id:' || a.id || '-' || k, a.id, a.last_contact_at - make_interval(days => 40 * k), 'mail', 'outgoing',
  'Zwischenbescheid'
FROM applications a, generate_series(0, {CONTACTS_EACH - 1}) k WHERE a.id BETWEEN %(first)s AND %(last)s
"""


def write_applicants(url: str, applications: int, *, contacts: bool = True) -> None:
    """Applications up to that number, with persons and three contact entries each; those that are there stay."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT coalesce(max(id), 0) FROM applications").fetchone()
        given = {"first": row[0] + 1 if row else 1, "last": applications, "today": TODAY}
        for statement in (_PERSONS, _APPLICATIONS, *([_CONTACTS] if contacts else [])):
            connection.execute(statement, given)
        tidy(connection)


def tidy(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """What autovacuum would do within minutes, before anything is timed."""
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")
