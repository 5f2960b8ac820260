"""The journal: what was accepted survives the mailer, and nothing but its own letters leaves the file (I20)."""

import fcntl
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.mailer import journal as journal_module
from services.mailer.journal import Journal, JournalEntry, JournalFailed

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
_DIES_WITH_LETTERS = """
import asyncio, os, sys
from datetime import UTC, datetime
from pathlib import Path
from services.mailer.journal import Journal, JournalEntry
entry = lambda token: JournalEntry(token, token, 250, "ok", datetime(2026, 11, 23, 9, tzinfo=UTC), "S", "<m>")
async def main():
    journal = Journal.open(Path(sys.argv[1]), "dead")
    await journal.append([entry(1), entry(2)])
    await journal.settle([1])
    await journal.append([entry(3)])
    os._exit(9)
asyncio.run(main())
"""


def entry(token: int) -> JournalEntry:
    return JournalEntry(100 + token, token, 250, "queued ü", AT, "Grüße", f"<{token}@x>")


def only_file(folder: Path) -> Path:
    [path] = folder.glob("mailer-*.journal")
    return path


def test_letters_of_a_dead_mailer_are_adopted_once(tmp_path: Path) -> None:
    finished = subprocess.run([sys.executable, "-c", _DIES_WITH_LETTERS, str(tmp_path)], check=False, timeout=60)
    assert finished.returncode == 9
    mine = Journal.open(tmp_path, "mine")
    other = Journal.open(tmp_path, "other")
    assert [found.token for found in mine.replay()] == [1, 2, 3]
    assert other.replay() == []
    mine.forget_adopted()
    assert mine.replay() == []
    mine.close()
    other.close()
    assert list(tmp_path.iterdir()) == []


async def test_entries_come_back_as_they_were(tmp_path: Path) -> None:
    left = Journal.open(tmp_path, "left")
    await left.append([entry(7)])
    left.close()
    assert Journal.open(tmp_path, "next").replay() == [entry(7)]


async def test_a_living_mailers_file_is_left_alone(tmp_path: Path) -> None:
    living = Journal.open(tmp_path, "a:1")
    await living.append([entry(1)])
    next_one = Journal.open(tmp_path, "b:2")
    assert next_one.replay() == []
    with pytest.raises(JournalFailed):
        Journal.open(tmp_path, "a:1")


async def test_a_file_removed_by_its_mailer_at_that_moment_is_not_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Journal.open(tmp_path, "ended")
    await ended.append([entry(1)])
    ended.close()
    path = only_file(tmp_path)
    next_one = Journal.open(tmp_path, "next")
    real_flock = fcntl.flock

    def removed_before_the_lock(descriptor: int, operation: int) -> None:
        path.unlink()
        real_flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removed_before_the_lock)
    assert next_one.replay() == []


async def test_a_torn_last_line_is_ignored(tmp_path: Path) -> None:
    left = Journal.open(tmp_path, "left")
    await left.append([entry(1), entry(2)])
    left.close()
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    assert [found.token for found in Journal.open(tmp_path, "next").replay()] == [1]


async def test_it_is_emptied_when_everything_is_settled(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "x")
    await journal.append([entry(1), entry(2)])
    await journal.settle([1])
    assert only_file(tmp_path).stat().st_size > 0
    await journal.settle([2])
    assert only_file(tmp_path).stat().st_size == 0


async def test_under_unbroken_load_it_stays_small_and_keeps_what_is_open(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "x", most_bytes=2000)
    await journal.append([entry(0)])
    for token in range(1, 200):
        await journal.append([entry(token)])
        await journal.settle([token - 1])
    assert only_file(tmp_path).stat().st_size < 4000
    # Still locked after the file was replaced:
    assert Journal.open(tmp_path, "next").replay() == []
    journal.close()
    assert entry(199) in Journal.open(tmp_path, "later").replay()


async def test_i20_a_full_disk_stops_sending_and_a_free_one_starts_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.open(tmp_path, "x")
    real_write = os.write

    def torn(descriptor: int, data: bytes) -> int:
        if len(data) > 60:
            return real_write(descriptor, data[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "write", torn)
        with pytest.raises(JournalFailed, match="No space left"):
            await journal.append([entry(1)])
        assert not journal.writable
    monkeypatch.setattr(journal_module, "PROBE_SECONDS", 0.0)
    assert journal.writable
    await journal.append([entry(2)])
    journal.close()
    # The first letter was accepted too: once the disk takes it, it is on record.
    assert [found.token for found in Journal.open(tmp_path, "next").replay()] == [1, 2]


@pytest.mark.parametrize("probed", [True, False])
async def test_i20_what_a_failed_sync_may_have_lost_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probed: bool
) -> None:
    journal = Journal.open(tmp_path, "x")
    written: list[bytes] = []
    await journal.append([entry(1), entry(2)])
    await journal.settle([1])

    def lost(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", lost)
        with pytest.raises(JournalFailed, match="Input/output error"):
            await journal.append([entry(3)])
    real_write = os.write

    def watched(descriptor: int, data: bytes) -> int:
        written.append(bytes(data))
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", watched)
    if probed:
        monkeypatch.setattr(journal_module, "PROBE_SECONDS", 0.0)
        assert journal.writable
    await journal.append([entry(4)])
    tokens = [json.loads(line)["token"] for line in b"".join(written).split(b"\n") if line]
    # What is settled needs no second record.
    assert tokens == [2, 3, 4]
    journal.close()
    assert Journal.open(tmp_path, "next").replay() == [entry(1), entry(2), entry(3), entry(4)]


def test_a_folder_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    blocking = tmp_path / "file"
    blocking.write_text("")
    with pytest.raises(JournalFailed, match="KP_STATE_DIR"):
        Journal.open(blocking, "x")
