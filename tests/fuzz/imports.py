"""Files of applications and contacts: rows of odd cells, and good files whose bytes were damaged."""

import csv
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from shared.errors import KontaktpflegeError
from shared.importing import application_rows, contact_rows, import_applications, import_contacts
from tests.fuzz.installation import Installation, prepare, sample
from tests.fuzz.target import Stage, Target
from tests.fuzz.values import damaged, texts, trees

_KINDS = {"applications": import_applications, "contacts": import_contacts}
_COLUMNS = {
    "applications": (*application_rows.KNOWN[:-1], "custom.Notiz", "custom.", "custom.x.y", "citty"),
    "contacts": (*contact_rows.KNOWN, "unknown"),
}
_ALWAYS = {"applications": ("external_id",), "contacts": ("at", "medium", "direction", "application")}
#: Cells that mean something in one column or the other.
_MEANT = (
    *("B-7-000001", "B-7-000002", "D-7-4", "K-7-0000001", "Neu online", "ABSAGE", "application", "vacancy", "true"),
    *("false", "2026-11-23", "1990-02-29", "2026-11-23T08:00:00+01:00", "mail", "in_person", "outgoing", "incoming"),
    *("a.weber", "erika@firma.example", "de", "fr"),
)


@st.composite
def _files(draw: st.DrawFn, kind: str, ending: str) -> bytes:
    cells = st.one_of(st.sampled_from(_MEANT), texts)
    others = draw(st.lists(st.sampled_from(_COLUMNS[kind]), max_size=6, unique=draw(st.integers(0, 9)) > 0))
    columns = [*_ALWAYS[kind], *(name for name in others if name not in _ALWAYS[kind])]
    rows = draw(st.lists(st.lists(cells, min_size=len(columns), max_size=len(columns)), max_size=5))
    if ending == ".csv":
        out = io.StringIO(newline="")
        csv.writer(out).writerows([columns, *rows])
        return out.getvalue().encode()
    values = st.one_of(cells, trees)
    objects = [
        {name: draw(values) if draw(st.integers(0, 4)) == 0 else cell for name, cell in zip(columns, row, strict=True)}
        for row in rows
    ]
    return "\n".join(json.dumps(one) for one in objects).encode()


def _cases() -> SearchStrategy[Any]:
    """Kind, ending, content, and whether it is only checked."""
    found = []
    for kind in _KINDS:
        good = sample(kind, 4)
        as_json = "\n".join(json.dumps(row) for row in csv.DictReader(io.StringIO(good)))
        for ending, whole in ((".csv", good), (".jsonl", as_json)):
            rows = _files(kind, ending)
            content = st.one_of(rows, rows, damaged(rows), damaged(st.just(whole.encode())))
            found.append(st.tuples(st.just(kind), st.just(ending), content, st.booleans()))
    return st.one_of(found)


@asynccontextmanager
async def _staged(folder: Path) -> AsyncIterator[Stage]:
    installation: Installation = await prepare(folder)

    async def attempt(case: tuple[str, str, bytes, bool]) -> None:
        kind, ending, content, check = case
        file = folder / f"given{ending}"
        file.write_bytes(content)
        async with installation.copied() as database:
            with suppress(KontaktpflegeError):
                await _KINDS[kind](database, file, author="anna", now=installation.clock.now(), check=check)

    yield Stage(_cases(), attempt)


IMPORTS = Target("imports", _staged)
