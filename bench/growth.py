"""Cost against size: the same evaluations with more and more applications, and what an evaluator's process takes."""

import time
from collections.abc import Callable, Sequence

from bench.applicants import tidy, write_applicants
from bench.figures import Results
from bench.recipients import FEW, MANY, birthdays, fresh_run, synchronised
from bench.sending import high_water_mb
from bench.site import Site
from shared.bus.interface import Bus
from shared.bus.messages import JobDue

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000)
LARGEST = 5_000_000
#: From this size on also with a job that half of all applications get a letter of: about a million open orders.
_ALSO_MANY = 2_000_000
_PATIENCE_SECONDS = 1200

Tell = Callable[[str], None]


def measure_growth(results: Results, site: Site, sizes: Sequence[int], tell: Tell) -> None:
    """One evaluation, another with nothing changed, and today's birthdays, at each size."""
    for size in sizes:
        tell(f"growth: {size:,} applications")
        write_applicants(site.database_url, size)
        for job in (FEW, *([MANY] if size >= _ALSO_MANY else [])):
            _measure(results, site, size, job, tell)


def _measure(results: Results, site: Site, size: int, job: str, tell: Tell) -> None:
    run_id = fresh_run(site, job)
    first = synchronised(site, run_id)
    with site.connect() as connection:
        tidy(connection)
    again = synchronised(site, run_id)
    index, _ = site.on_database(birthdays)
    orders = _orders(site)
    results.growth.append({"applications": size, "orders": orders, "first": first, "again": again, "birthdays": index})
    memory = _evaluator_memory(site, job)
    results.memory_mb[f"evaluator, {size:,} applications, {orders:,} orders"] = memory
    # At once as well: the largest size takes long, and a run may be broken off.
    tell(f"growth: {orders:,} orders: {first:.1f} s, again {again:.2f} s, birthdays {index:.3f} s, {memory:.0f} MB")


def _evaluator_memory(site: Site, job: str) -> float:
    """The most that an evaluator takes for this job at this size."""
    run_id = fresh_run(site, job)

    async def ring(bus: Bus) -> None:
        await bus.publish([JobDue(run_id)])

    with site.service(
        "evaluator", KP_CLOCK_START="2026-11-23T06:00:00+01:00", SMTP_URL="smtp://127.0.0.1:9"
    ) as process:
        site.on_bus(ring)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _orders(site):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the evaluator made no orders within {_PATIENCE_SECONDS} s")
            time.sleep(0.2)
        return high_water_mb(process.pid)


def _orders(site: Site) -> int:
    with site.connect() as connection:
        row = connection.execute("SELECT count(*) FROM write_orders").fetchone()
    return int(row[0]) if row else 0
