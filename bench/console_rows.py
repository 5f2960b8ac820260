"""A million write orders for the console's lists: what is common, what is rare, and what is rare and old."""

from typing import Any

import psycopg

from bench.applicants import tidy, write_applicants

#: Days on which the busy job wrote; the last one is tomorrow's dispatch, which is still planned.
DAYS = 400
#: Orders of the other job and of each manual type: all older than anything else.
FEW = 1000
#: Who works on ten applications only, on the first twentieth of them, and on none.
RECRUITERS = ("r.selten", "m.mittel", "niemand")

_RECRUITERS = """
UPDATE applications SET recruiter = named, recruiter_folded = named
FROM (SELECT id AS one, CASE WHEN id %% 100000 = 7 THEN 'r.selten' ELSE 'm.mittel' END AS named FROM applications
  WHERE id %% 100000 = 7 OR id <= %(orders)s / 20) AS others WHERE id = one
"""
_RUNS = """
INSERT INTO dispatch_runs (job_id, lineage_id, job_name, occasion_day, plan_from, send_at, state, released_at,
  recipients, released_orders, synced_at)
SELECT j.id, j.lineage_id, j.name, current_date + 1 - d, now(), now() + make_interval(days => 1 - d),
  CASE WHEN d = 0 THEN 'open' ELSE 'dispatched' END, CASE WHEN d > 0 THEN now() + make_interval(days => 1 - d) END,
  %(each)s, %(each)s, now()
FROM contact_jobs j, generate_series(0, %(days)s - 1) d WHERE j.name = 'Gruß'
UNION ALL
SELECT j.id, j.lineage_id, j.name, current_date - 500, now(), now() - interval '500 days', 'dispatched',
  now() - interval '500 days', %(few)s, %(few)s, now() FROM contact_jobs j WHERE j.name = 'Nicht vergessen'
"""
_BLOCK = """
INSERT INTO blocks (person_id, scope, reason, author, created_at) VALUES (1, 'all', 'im Gespräch', 'bench', now())
"""
_COLUMNS = """
INSERT INTO write_orders (type, run_id, job_id, job_name, lineage_id, person_id, application_id, letter_id,
  occasion_day, state, reason, block_id, time_zone, planned_for, created_at, queued_at, not_before, expires_at, email,
  sent_at, subject, attempts)
"""
_OLD = f"""{_COLUMNS}
SELECT 'contact_job', r.id, r.job_id, r.job_name, r.lineage_id, a.person_id, a.id, 1, r.occasion_day, 'sent', NULL,
  NULL::bigint, 'Europe/Berlin', r.send_at, r.send_at, r.send_at, r.send_at, r.send_at + interval '30 days',
  a.usable_email, r.send_at, 'Lange her', 1
FROM dispatch_runs r JOIN applications a ON a.id % 10 <> 0 AND a.id <= {FEW} WHERE r.job_name = 'Nicht vergessen'
UNION ALL
SELECT type, NULL, NULL, NULL, NULL, a.person_id, a.id, 1, r.occasion_day, 'sent', NULL, NULL, 'Europe/Berlin',
  r.send_at, r.send_at, r.send_at, r.send_at, r.send_at + interval '30 days', a.usable_email, r.send_at, 'Von Hand', 1
FROM dispatch_runs r JOIN applications a ON a.id <= {FEW}, unnest(ARRAY['manual', 'scheduled_rejection']) AS type
WHERE r.job_name = 'Nicht vergessen'
"""
#: Most are sent; of a hundred one failed, one has no address, one is withdrawn; few are in any other state.
_ORDERS = f"""{_COLUMNS}
SELECT 'contact_job', r.id, j.id, j.name, j.lineage_id, a.person_id, a.id, j.letter_id, r.occasion_day, s.state,
  CASE WHEN s.state = 'failed' THEN '550 unknown' END,
  CASE WHEN s.state = 'blocked' THEN (SELECT min(id) FROM blocks) END,
  'Europe/Berlin', r.send_at, r.send_at, r.send_at, r.send_at,
  now() + interval '30 days', a.usable_email,
  CASE WHEN s.state = 'sent' THEN r.send_at + make_interval(secs => a.id %% 3600) END, 'Gruß', 1
FROM (SELECT *, row_number() OVER (ORDER BY occasion_day) - 1 AS nr FROM dispatch_runs WHERE job_name = 'Gruß') r
JOIN contact_jobs j ON j.id = r.job_id
JOIN applications a ON a.id %% %(days)s = r.nr AND a.id <= %(orders)s,
LATERAL (SELECT CASE WHEN r.state = 'open' OR a.id %% 100 = 0 THEN 'planned' WHEN a.id %% 100 <= 3
  THEN (ARRAY['failed', 'no_address', 'withdrawn'])[a.id %% 100]
  WHEN a.id / 1000 %% 20 = 7 AND a.id %% 1000 BETWEEN 10 AND 13
  THEN (ARRAY['queued', 'sending', 'unclear', 'blocked'])[a.id %% 10 + 1] ELSE 'sent' END AS state) s
ORDER BY r.occasion_day, a.id ON CONFLICT DO NOTHING
"""
_EVENTS = """
INSERT INTO events (at, author, action, noun, record_id, record_name, field, old, new)
SELECT now() - make_interval(secs => n), 'bench', 'change', noun, n, 'Gruß', 'note', 'alt', 'neu'
FROM unnest(ARRAY['letter', 'query', 'user', 'person', 'application']) noun,
  LATERAL generate_series(1, CASE WHEN noun IN ('person', 'application') THEN %(orders)s / 20 ELSE 20 END) n
UNION ALL
SELECT now() - make_interval(secs => n), 'bench', 'block', 'order', n, 'Gruß', 'state', 'planned', 'blocked'
FROM generate_series(1, %(orders)s::bigint) n
"""


def write_console_rows(url: str, connection: psycopg.Connection[Any], rows: int) -> None:
    """Applications, orders and events, so many of each; needs a setup with both jobs."""
    write_applicants(url, rows)
    given = {"days": DAYS, "each": rows // DAYS, "few": FEW, "orders": rows}
    for statement in (_RECRUITERS, _RUNS, _BLOCK, _OLD, _ORDERS, _EVENTS):
        connection.execute(statement, given if "%(" in statement else None)
    tidy(connection)
