"""How long a command takes to say what it can do: nobody likes to wait for help."""

import subprocess
import sys
import time
from pathlib import Path

from bench.figures import Results

_TIMES = 9


def measure_help(results: Results) -> None:
    """Seconds of `kontaktpflege --help`, as a user starts it."""
    command = [str(Path(sys.executable).parent / "kontaktpflege"), "--help"]
    for _ in range(_TIMES):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        results.add("kontaktpflege --help, seconds", time.perf_counter() - began)
