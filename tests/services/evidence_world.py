"""Evidence files that are made and read again."""

import json
import zipfile
from pathlib import Path
from typing import Any

from services.mailer.again import WritingAgain
from shared.evidence import write_evidence
from tests.services.running import settings_for
from tests.services.world import MORNING, World

Contents = dict[str, bytes]


async def made(world: World, out: Path, application: str = "A1", **given: Any) -> tuple[dict[str, int], Contents]:
    """The counts that are answered, and the files by name; `given` are settings."""
    again = WritingAgain(settings_for(out.parent, "smtp://127.0.0.1:25", **given))
    counts = await write_evidence(world.database, application, out, again, author="chef", now=MORNING)
    with zipfile.ZipFile(out) as file:
        assert file.testzip() is None
        return counts, {name: file.read(name) for name in file.namelist()}


def listed(files: Contents, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files[f"{name}.jsonl"].decode().splitlines()]


def about(files: Contents) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files["index.json"])
    return found


def everything(files: Contents) -> str:
    """All that is in the file, as text."""
    return b"\n".join(files.values()).decode(errors="replace")
