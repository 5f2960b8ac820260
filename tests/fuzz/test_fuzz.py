"""A few seconds of each target of `make fuzz`; each notices what is broken, and keeps the case that showed it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.fuzz.target import Stage, Target, fuzz, try_again
from tests.fuzz.targets import TARGETS
from tests.sizes import size

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")

#: Of each target a place in the product, and what is put there instead.
BROKEN: dict[str, tuple[str, Any]] = {
    "imports": ("shared.importing.source._decode", lambda *_, **__: None),
    "setups": ("shared.domain.filters._nearest", lambda text, names: names[text]),
    "messages": ("shared.bus.embedded.decode", lambda body, expected: expected(**json.loads(body))),
    "console": ("services.console.app._STATUS", ((Exception, 500),)),
    "public": ("services.public.app.field_of", lambda form, name: form[name] if form is not None else ""),
    "mails": ("shared.domain.mail_parts.fields_of", lambda head: head.decode("ascii")),
}


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_fails_within_seconds(name: str) -> None:
    outcome = fuzz(TARGETS[name], size(3, 10), 1)
    assert outcome.tried > 0
    assert not outcome.failed, f"{outcome.reason}\n{outcome.case!a}"


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_notices_what_is_broken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*BROKEN[name])
    # That nobody answers is what is looked for here: it need not be waited for as long as elsewhere.
    monkeypatch.setattr("tests.fuzz.messages.PATIENCE", 10.0)
    assert fuzz(TARGETS[name], 60, 1, shrink=False).failed


def test_a_failing_case_is_made_small_written_down_and_tried_again(tmp_path: Path) -> None:
    @asynccontextmanager
    async def staged(_: Path) -> AsyncIterator[Stage]:
        async def attempt(case: tuple[str, bytes]) -> None:
            if len(case[0]) > 2:
                raise ZeroDivisionError("too long: ä")

        yield Stage(st.tuples(st.text(), st.binary()), attempt)

    target = Target("texts", staged)
    outcome = fuzz(target, 60, 7)
    assert outcome.failed and outcome.case == ("000", b"") and "ZeroDivisionError" in outcome.reason
    with pytest.raises(ZeroDivisionError):
        try_again({"texts": target}, outcome.keep(tmp_path / "kept"))
    assert fuzz(target, 60, 7).seed == outcome.seed
