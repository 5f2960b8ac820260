"""Setup files: a good one of which parts were exchanged or damaged, as YAML and as JSON."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from shared.errors import KontaktpflegeError
from shared.setup import apply_setup, read_setup
from tests.fuzz.installation import prepare
from tests.fuzz.target import Stage, Target
from tests.fuzz.values import damaged, texts, trees
from tests.hostile_letters import ATTACKS
from tests.stacks import SAMPLE

_GOOD: dict[str, Any] = yaml.safe_load((SAMPLE / "setup.yaml").read_text(encoding="utf-8"))
#: Keys that records may have and the sample's have not.
_KEYS = (
    *(
        "was",
        "variants",
        "layout",
        "attachments",
        "text",
        "html",
        "language",
        "sets_status",
        "note",
        "priority",
        "until",
    ),
    *("valid_days", "on_unclear", "hold_factor", "negate", "contains", "in", "not_in", "from", "to", "more_than", "is"),
    *("days", "weekday", "first_on", "every_months", "anchor", "email", "time_zone", "name", "field", "layouts"),
)


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a tree, the whole first."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in inner for place in _places(value, (*path, key)))]


#: What stands in one place or the other of a good setup.
_MEANT = (
    *("Absage", "absage", "Neu online", "Geburtstag", "Kontakt fehlend", "a.weber", "user:a.weber", "recruiter", "An"),
    *(
        "Aus",
        "rolling",
        "08:00",
        "de",
        "en",
        "hired",
        "Neuer Name",
        "status",
        "has_email",
        "custom.skills",
        "dwell_months",
    ),
    *({"every_months": 1, "anchor": "2026-01-31"}, [], ["Absage"], True, False, None, 0, 1, 7, 30, "Europe/Lisbon"),
)


@st.composite
def _setups(draw: st.DrawFn) -> bytes:
    tree = deepcopy(_GOOD)
    for _ in range(draw(st.integers(0, 4))):
        # Never the whole: that is what damaged bytes are for.
        *above, last = draw(st.sampled_from(_places(tree)[1:]))
        parent = tree
        for key in above:
            parent = parent[key]
        match draw(st.sampled_from(("change", "change", "remove", "double", "add"))):
            case "change":
                parent[last] = draw(st.one_of(st.sampled_from(_MEANT), texts, trees, st.sampled_from(ATTACKS)))
            case "remove":
                del parent[last]
            case "double" if isinstance(parent, list):
                parent.append(deepcopy(parent[last]))
            case _ if isinstance(parent[last], dict):
                parent[last][draw(st.sampled_from(_KEYS))] = draw(st.one_of(st.sampled_from(_MEANT), trees))
        if not tree:
            break
    as_json = draw(st.booleans())
    return (json.dumps(tree, default=str) if as_json else yaml.safe_dump(tree, allow_unicode=True)).encode(
        "utf-8", "surrogatepass"
    )


@asynccontextmanager
async def _staged(folder: Path) -> AsyncIterator[Stage]:
    installation = await prepare(folder)

    async def attempt(case: tuple[bytes, bool]) -> None:
        content, dry_run = case
        file = folder / "setup.yaml"
        file.write_bytes(content)
        with suppress(KontaktpflegeError):
            setup = read_setup(file)
            async with installation.copied() as database:
                who: dict[str, Any] = {"author": "anna", "role": "admin", "now": installation.clock.now()}
                await apply_setup(database, setup, **who, dry_run=dry_run)

    yield Stage(st.tuples(st.one_of(_setups(), _setups(), damaged(_setups())), st.booleans()), attempt)


SETUPS = Target("setups", _staged)
