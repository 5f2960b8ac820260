"""Feeds the parsers with bytes that reach new lines of them: `python -m tests.fuzz.guided --seconds 600 [PARSER ...]`.

(or `make guided`.) Needs atheris, the dependency group `guided`: Linux, Python 3.11 to 3.13. What it has found before
is where it begins. A case that fails is written into a file; `--again PARSER FILE` tries it once more, without atheris.
"""

import argparse
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

#: Seconds that one case may take, and megabytes that it may need.
PATIENCE, MEMORY = 10, 2048


def main() -> int:
    """0: nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("parsers", nargs="*", metavar="PARSER", help="all by default")
    parser.add_argument("--seconds", type=int, default=600, help="for each parser (600)")
    parser.add_argument("--out", type=Path, default=Path(".state/fuzz"), help="folder of cases (.state/fuzz)")
    parser.add_argument("--again", nargs=2, metavar=("PARSER", "FILE"), help="try this case only")
    parser.add_argument("--feed", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.feed:
        _feed(*given.feed)
    from tests.fuzz.parsers import PARSERS

    if given.again:
        PARSERS[given.again[0]].read(Path(given.again[1]).read_bytes())
        print("it does not fail")
        return 0
    if unknown := set(given.parsers) - set(PARSERS):
        parser.error(f"no parser: {', '.join(sorted(unknown))}; there are {', '.join(PARSERS)}")
    failed = [name for name in given.parsers or PARSERS if not _try(name, given.seconds, given.out)]
    return int(bool(failed))


def _try(name: str, seconds: int, out: Path) -> bool:
    """Whether nothing failed. The fuzzer ends the process that it runs in, so each has one of its own."""
    from tests.fuzz.parsers import PARSERS

    corpus = out / f"corpus-{name}"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, example in enumerate(PARSERS[name].examples):
        (corpus / f"example-{number}").write_bytes(example)
    bounds = (f"-max_total_time={seconds}", f"-timeout={PATIENCE}", f"-rss_limit_mb={MEMORY}")
    more = (f"-max_len={PARSERS[name].longest}", f"-artifact_prefix={out}/{name}-", "-print_final_stats=1")
    command = [sys.executable, "-m", "tests.fuzz.guided", "--feed", name, *bounds, *more, str(corpus)]
    print(f"{name}: {seconds} s", flush=True)
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    lines = done.stderr.splitlines()
    told = [line for line in lines if "cov:" in line][-1:] + [line for line in lines if "number_of_executed" in line]
    print("\n".join(told) if done.returncode == 0 else f"{done.stdout}\n{done.stderr}"[-6000:], flush=True)
    print(f"{name}: {'nothing failed' if done.returncode == 0 else f'FAILED ({done.returncode})'}", flush=True)
    return done.returncode == 0


def _feed(name: str, *arguments: str) -> None:
    # By name: it is no dependency of the tests.
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["shared"]):
        parsers = import_module("tests.fuzz.parsers")
    atheris.Setup([sys.argv[0], *arguments], parsers.PARSERS[name].read)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
