"""`python -m bench`: every figure beside its reference, as ratios of medians within one run."""

import argparse
import sys
import time
from pathlib import Path

from bench.applicants import write_applicants
from bench.command_line import measure_help
from bench.console import measure_console
from bench.embedded import measure_embedded
from bench.figures import Results
from bench.growth import LARGEST, SIZES, measure_growth
from bench.publishing import measure_publishing
from bench.recipients import measure_recipients
from bench.scaling import measure_mailer_memory, measure_scaling
from bench.sending import measure_sending
from bench.site import new_site
from bench.sweeping import measure_sweep
from bench.volume import measure_volume
from tests.servers import __main__ as servers
from tests.servers.state import ServersImpossible

SECTIONS = (
    "help",
    "sending",
    "embedded",
    "publishing",
    "scaling",
    "memory",
    "recipients",
    "growth",
    "console",
    "sweep",
    "volume",
)
#: Applications where only sending is measured.
_FEW = 100_000


def main() -> int:
    """0: every ratio is as wanted; 1: at least one is not, or the servers cannot be had."""
    arguments = _arguments()
    results = Results(small=arguments.quick)
    try:
        servers.up()
    except ServersImpossible as exc:
        print(exc, file=sys.stderr)
        return 1
    try:
        _measure(results, arguments)
    finally:
        servers.down()
    results.show()
    if arguments.out:
        arguments.out.write_text(results.as_json(), encoding="utf-8")
    return int(bool(results.missed))


def _measure(results: Results, arguments: argparse.Namespace) -> None:
    quick, chosen = arguments.quick, arguments.only or SECTIONS
    rounds = arguments.rounds or (2 if quick else 3)
    began = time.monotonic()

    def tell(what: str) -> None:
        print(f"bench: {time.monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)

    if "help" in chosen:
        measure_help(results)
    if "growth" in chosen:
        sizes = [size for size in SIZES if size <= (_FEW if quick else SIZES[-1])]
        with new_site() as site:
            measure_growth(results, site, arguments.size or [*sizes, *([LARGEST] if arguments.full else [])], tell)
    if "console" in chosen:
        with new_site() as site:
            measure_console(results, site, _FEW if quick else 1_000_000, tell)
    if "sweep" in chosen:
        with new_site() as site:
            measure_sweep(results, site, _FEW if quick else 1_000_000, tell)
    if set(chosen) <= {"help", "growth", "console", "sweep"}:
        return
    if "embedded" in chosen:
        measure_embedded(results, 3000 if quick else 10_000, tell)
    with new_site() as site:
        tell(f"writing {_FEW:,} applications")
        write_applicants(site.database_url, _FEW)
        if "sending" in chosen:
            # Two rounds more, as nothing else swings so much with the machine.
            more = arguments.rounds or (2 if quick else 5)
            measure_sending(results, site, arguments.letters or (10_000 if quick else 20_000), more, tell)
        if "volume" in chosen:
            measure_volume(results, site, arguments.letters or (10_000 if quick else 50_000), tell)
        if "publishing" in chosen:
            measure_publishing(results, site, 20_000 if quick else 100_000, rounds, tell)
        if "scaling" in chosen:
            measure_scaling(results, site, 600 if quick else 2000, 1 if quick else rounds, tell)
        if "memory" in chosen:
            measure_mailer_memory(results, site, 100_000 if quick else 1_000_000, tell)
        if "recipients" in chosen:
            if not quick:
                tell("writing 1,000,000 applications")
                write_applicants(site.database_url, 1_000_000)
            measure_recipients(results, site, rounds, tell)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 thousand applications; under 5 minutes")
    parser.add_argument("--full", action="store_true", help="growth up to 5 million applications")
    parser.add_argument("--size", type=int, action="append", help="applications of the growth; may be repeated, rising")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="this section alone; may be repeated")
    parser.add_argument("--letters", type=int, help="letters that a mailer sends in a round")
    parser.add_argument("--rounds", type=int, help="rounds of each measurement")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
