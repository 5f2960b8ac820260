"""How much of what is random a run tries: enough before every merge, or with THOROUGH=1 (`make thorough`) far more."""

import os

_THOROUGH = os.environ.get("THOROUGH", "") not in ("", "0")


def size(usual: int, thorough: int) -> int:
    """Of seeds, examples or records: what this run tries."""
    return thorough if _THOROUGH else usual
