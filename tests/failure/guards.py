"""Every guard taken out, one at a time, in a copy of the source: the test aimed at it must turn red.

`python -m tests.failure.guards` (or `make guards`) tries them all, `... NAME` those whose name contains NAME;
`--by TEST` has another test look for them.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.failure.guard import Guard
from tests.failure.guard_list import GUARDS
from tests.failure.security_guards import SECURITY_GUARDS
from tests.servers.__main__ import down, environment, up

ROOT = Path(__file__).resolve().parents[2]
EVERY_GUARD = (*GUARDS, *SECURITY_GUARDS)
#: What a copy needs to run a test.
COPIED = ("shared", "services", "tests", "docs", "pyproject.toml")
#: Seconds that an aimed test may take, and any other.
PATIENCE, OTHERS_PATIENCE = 30.0, 180.0
#: pytest's exit code for failed tests; others mean that it could not even try.
_TESTS_FAILED = 1
#: A test that fails like this has not noticed the missing guard: the way in which it was taken out makes no program.
_SLIP = re.compile(r"^E\s+(NameError|UnboundLocalError|ImportError|SyntaxError|IndentationError).*", re.MULTILINE)


def main() -> int:
    """0: each guard's test is green with it and red without it."""
    parser = argparse.ArgumentParser(prog="python -m tests.failure.guards", description=__doc__)
    parser.add_argument("names", nargs="*", help="only guards whose name contains one of these")
    parser.add_argument("--by", metavar="TEST", help="the test that is to notice, instead of the aimed one")
    arguments = parser.parse_args()
    names, by = arguments.names, arguments.by
    chosen = [guard for guard in EVERY_GUARD if not names or any(name in guard.name for name in names)]
    chosen = [replace(guard, test=by) for guard in chosen] if by else chosen
    up(durable=False)
    try:
        with tempfile.TemporaryDirectory(prefix="kontaktpflege-guards-") as folder:
            found = [(guard, *_try(guard, Path(folder))) for guard in track(chosen, disable=not sys.stderr.isatty())]
            green = _green_with_all(chosen, Path(folder))
    finally:
        down()
    table = Table("guard", "invariant", "without it", "seconds", "aimed test", title="Guards taken out")
    for guard, verdict, seconds in found:
        table.add_row(guard.name, guard.invariant, verdict, f"{seconds:.1f}", guard.test.rpartition("::")[2])
    Console(width=200).print(table)
    caught = sum(verdict == "red" for _, verdict, _ in found)
    print(f"{caught} of {len(found)} guards are caught; with all guards the aimed tests {green}")
    return int(caught < len(found) or green != "pass")


def _try(guard: Guard, folder: Path) -> tuple[str, float]:
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    _copy(tree)
    for file, old, new in guard.edits:
        source = (tree / file).read_text(encoding="utf-8")
        assert source.count(old) == 1, f"{guard.name}: {old!r} occurs {source.count(old)} times in {file}"
        (tree / file).write_text(source.replace(old, new), encoding="utf-8")
    began = time.monotonic()
    return _run(tree, [guard.test], _patience(guard)), time.monotonic() - began


def _patience(guard: Guard) -> float:
    return PATIENCE if guard in EVERY_GUARD else OTHERS_PATIENCE


def _copy(tree: Path) -> None:
    tree.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)


def _run(tree: Path, tests: Sequence[str], patience: float) -> str:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    paths = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env={**environment(), **paths},
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {patience:.0f} s"
    if done.returncode == _TESTS_FAILED and "error" not in done.stdout.splitlines()[-1]:
        slip = _SLIP.search(done.stdout)
        return f"broken: {slip[0][:200]}" if slip else "red"
    return "GREEN" if done.returncode == 0 else f"broken ({done.returncode}): {done.stdout[-300:]}"


def _green_with_all(guards: Sequence[Guard], folder: Path) -> str:
    tree = folder / "whole"
    _copy(tree)
    verdict = _run(tree, sorted({guard.test for guard in guards}), sum(map(_patience, guards)))
    return "pass" if verdict == "GREEN" else f"FAIL: {verdict}"


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
