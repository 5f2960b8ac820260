"""What an application takes in PostgreSQL, what a letter leaves and writes: how much a year of letters needs."""

from collections.abc import Callable

from bench.applicants import tidy
from bench.figures import Results
from bench.mail_sinks import smtp_sink
from bench.orders import queue_orders
from bench.sending import mailer_rate
from bench.site import Site

Tell = Callable[[str], None]
#: Bytes of each table with its indexes and long values.
_SIZES = """
SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables
WHERE relname IN ('write_orders', 'attempts', 'events', 'contact_entries', 'applications', 'persons')
"""


def measure_volume(results: Results, site: Site, letters: int, tell: Tell) -> None:
    """Sends `letters` and takes what each table has grown by, and what was written to the write-ahead log."""
    tell(f"volume: sending {letters:,} letters")
    before, start = _state(site)
    for table in ("applications", "persons", "contact_entries"):
        results.volume[f"{table}, bytes an application"] = before[table] / _applications(site)
    queue_orders(site, letters)
    _, log_queued = _state(site)
    with smtp_sink() as port:
        # Queues them anew first: that part of the log is known by now.
        mailer_rate(results, site, letters, port)
    after, log = _state(site)
    for table, size in after.items():
        results.volume[f"{table}, bytes a letter"] = (size - before[table]) / letters
    results.volume["all of them, bytes a letter"] = (sum(after.values()) - sum(before.values())) / letters
    results.volume["write-ahead log, queueing, bytes a letter"] = (log_queued - start) / letters
    results.volume["write-ahead log, sending, bytes a letter"] = (log - log_queued - (log_queued - start)) / letters


def _applications(site: Site) -> int:
    with site.connect() as connection:
        found = connection.execute("SELECT count(*) FROM applications").fetchone()
    return int(found[0]) if found else 0


def _state(site: Site) -> tuple[dict[str, int], int]:
    """Sizes by table, and how far the write-ahead log is."""
    with site.connect() as connection:
        tidy(connection)
        log = connection.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()
        sizes = dict(connection.execute(_SIZES).fetchall())
    assert log is not None
    return sizes, int(log[0])
