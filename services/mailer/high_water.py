"""What this machine remembers outside the database: the last letter it handed over (C56; see shared.db.holds)."""

import json
import os
from contextlib import suppress
from pathlib import Path


class HighWater:
    """The token of the last letter handed over, for one database; a file in KP_STATE_DIR for all mailers of a machine.

    Losing the file loses this protection only. What the last seconds before a kill added is missing in it.
    """

    def __init__(self, folder: Path, instance_id: str) -> None:
        self._path = folder / f"handed-over-{instance_id}.json"
        self._written: int | None = None
        self.token = self._read()

    def save(self) -> None:
        """Writes the token if it has changed; a disk that is full or read-only loses no letter."""
        if self.token is None or self.token == self._written:
            return
        beside = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            beside.write_text(json.dumps({"token": self.token}), encoding="utf-8")
            beside.replace(self._path)
            self._written = self.token
        except OSError:
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def _read(self) -> int | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return int(json.loads(self._path.read_text(encoding="utf-8"))["token"])
        return None
