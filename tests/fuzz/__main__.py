"""Tries what nobody thought of, for a while: `python -m tests.fuzz --seconds 600 [TARGET ...]` (or `make fuzz`).

A case that fails is made as small as it can be and written into a file; `--again FILE` tries it once more.
"""

import argparse
import logging
import sys
import warnings
from pathlib import Path
from random import randrange

import structlog
from hypothesis.errors import HypothesisWarning

from tests.fuzz.target import fuzz, try_again
from tests.fuzz.targets import TARGETS


def main() -> int:
    """0: nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--seconds", type=float, default=600.0, help="for each target (600)")
    parser.add_argument("--seed", type=int, help="of the first round; any by default")
    parser.add_argument("--out", type=Path, default=Path(".state/fuzz"), help="folder of failing cases (.state/fuzz)")
    parser.add_argument("--again", type=Path, metavar="FILE", help="try this case only")
    given = parser.parse_args()
    if given.again:
        try_again(TARGETS, given.again)
        print("it does not fail")
        return 0
    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"no target: {', '.join(sorted(unknown))}")
    # What fails is raised; the services' log would be longer than everything else.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    warnings.simplefilter("ignore", HypothesisWarning)
    failed = False
    for name in given.targets or TARGETS:
        first = randrange(10**6) if given.seed is None else given.seed
        print(f"{name}: seeds from {first} on, {given.seconds:.0f} s", flush=True)
        outcome = fuzz(TARGETS[name], given.seconds, first)
        print(f"{name}: {outcome.tried} cases, {'one fails' if outcome.failed else 'none fails'}", flush=True)
        if outcome.failed:
            failed = True
            print(f"{outcome.reason}\nseed {outcome.seed}; kept in {outcome.keep(given.out)}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
