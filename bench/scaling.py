"""More mailers where the mail server takes its time, and what a mailer and an evaluator need when much waits."""

import time
from collections.abc import Callable

from bench.figures import Results
from bench.mail_sinks import late_sink
from bench.orders import queue_orders
from bench.sending import high_water_mb, mailer_rate
from bench.site import Site

#: Seconds that the sink takes for its answer to the final dot.
LATE = 0.05
#: Sessions of a mailer: few, so that waiting is what limits it.
_SESSIONS = 10
MAILERS = (1, 2, 4)
_ORDERS = 2000
#: Seconds that a mailer is watched.
_LOOK_SECONDS = 15

Tell = Callable[[str], None]


def measure_scaling(results: Results, site: Site, letters: int, rounds: int, tell: Tell) -> None:
    """1, 2 and 4 mailers in turns; each has the same number of letters to send."""
    with late_sink(LATE) as port:
        for number in range(1, rounds + 1):
            for mailers in MAILERS:
                tell(f"{mailers} mailers, round {number} of {rounds}")
                rate = mailer_rate(results, site, letters * mailers, port, mailers, _SESSIONS)
                results.add(f"{mailers} {'mailer' if mailers == 1 else 'mailers'}, 50 ms", rate)


def measure_mailer_memory(results: Results, site: Site, waiting: int, tell: Tell) -> None:
    """The most that a mailer takes while so many doorbells wait; they ring for the same orders again and again."""
    tell(f"{waiting:,} doorbells for the mailer's memory")
    ids = queue_orders(site, _ORDERS)
    site.ring(ids * (waiting // _ORDERS))
    with late_sink(LATE) as port:
        settings = {"SMTP_URL": f"smtp://127.0.0.1:{port}", "KP_SMTP_CONNECTIONS": str(_SESSIONS)}
        with site.service("mailer", **settings) as process:
            time.sleep(_LOOK_SECONDS)
            results.memory_mb[f"mailer, {waiting:,} messages waiting"] = high_water_mb(process.pid)
