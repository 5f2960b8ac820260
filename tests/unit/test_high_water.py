"""The last letter handed over, as several mailers of one machine remember it (C56)."""

import json
from pathlib import Path

import pytest

from services.mailer.high_water import HighWater


def kept(folder: Path) -> int:
    return int(json.loads((folder / "handed-over-x.json").read_text())["token"])


def test_c56_a_mailer_that_has_handed_over_nothing_writes_nothing(tmp_path: Path) -> None:
    working = HighWater(tmp_path, "x")
    working.token = 9
    working.save()
    idle = HighWater(tmp_path, "x")
    working.token = 3  # tokens have no order
    working.save()
    idle.save()
    assert (kept(tmp_path), idle.token) == (3, 9)


def test_c56_the_later_letter_stays_whoever_saves_last(tmp_path: Path) -> None:
    first, second = HighWater(tmp_path, "x"), HighWater(tmp_path, "x")
    first.token = 9
    second.token = 3
    second.save()
    first.save()
    assert kept(tmp_path) == 3
    first.token = 5
    first.save()
    assert kept(tmp_path) == 5


@pytest.mark.parametrize("before", ['{"token": 7}', '{"token": 7, "at": 1e300}', "torn"])
def test_c56_what_was_noted_before_the_machine_started_again_is_replaced(tmp_path: Path, before: str) -> None:
    (tmp_path / "handed-over-x.json").write_text(before)
    mark = HighWater(tmp_path, "x")
    assert mark.token == (7 if before != "torn" else None)
    mark.token = 2
    mark.save()
    assert kept(tmp_path) == 2
