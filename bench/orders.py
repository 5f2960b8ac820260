"""Queued write orders by the thousand, as the evaluator would have left them after a release."""

import psycopg

from bench.applicants import TODAY, tidy
from bench.site import Site

_RUN = """
INSERT INTO dispatch_runs (job_id, lineage_id, job_name, occasion_day, plan_from, send_at, state, released_at)
SELECT id, lineage_id, name, %(day)s, now(), now(), 'dispatched', now() FROM contact_jobs WHERE name = 'Gruß'
RETURNING id
"""

#: For people in the pool who have an address: what the last look, which is part of the measurement, will find again.
_ORDERS = """
INSERT INTO write_orders (type, run_id, job_id, job_name, lineage_id, person_id, application_id, letter_id,
  occasion_day, state, time_zone, planned_for, created_at, queued_at, not_before, expires_at)
SELECT 'contact_job', %(run)s, j.id, j.name, j.lineage_id, a.person_id, a.id, j.letter_id, %(day)s, 'queued',
  'Europe/Berlin', now(), now(), now(), now() - interval '1 minute', now() + interval '30 days'
FROM contact_jobs j, (
  SELECT min(id) AS id, person_id FROM applications
  WHERE usable_email IS NOT NULL AND (status_id = %(status)s OR %(anybody)s)
  GROUP BY person_id ORDER BY person_id LIMIT %(letters)s
) a
WHERE j.name = 'Gruß'
RETURNING id
"""


def queue_orders(site: Site, letters: int, *, anybody: bool = False) -> list[int]:
    """Makes `letters` orders of the bench's job due now, each for another person; their ids.

    Of `anybody`, whom the last look need not find again: for what is measured without one.

    Those of the round before are forgotten: the repeat guard is on, and would stop everybody.
    """
    with site.connect() as connection:
        forget_orders(connection)
        pool = connection.execute("SELECT id FROM application_statuses WHERE meta = 'pool'").fetchone()
        run = connection.execute(_RUN, {"day": TODAY}).fetchone()
        assert pool and run
        given = {"run": run[0], "day": TODAY, "status": pool[0], "letters": letters, "anybody": anybody}
        ids = [row[0] for row in connection.execute(_ORDERS, given)]
        tidy(connection)
    if len(ids) != letters:
        raise RuntimeError(f"{letters} letters were wanted, the applicants suffice for {len(ids)}")
    return ids


def forget_orders(connection: psycopg.Connection[object]) -> None:
    """All orders with what came of them."""
    connection.execute("TRUNCATE attempts, write_orders, dispatch_runs CASCADE")
    connection.execute("DELETE FROM contact_entries WHERE identity LIKE 'order:%'")
