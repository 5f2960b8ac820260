"""C30: a disk that is really full (ENOSPC), a tmpfs of some hundred kilobytes. Mounting it needs the right to."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from services.mailer.journal import PROBE_SECONDS
from shared.db.engine import Database
from shared.db.tables import metadata
from shared.errors import Unavailable
from tests.services.running import running, settings_for, until
from tests.services.world import World
from tests.smtp_oracle import SmtpOracle

SIZE = "2m"
ROWS = [f"A{number},,Name{number},a{number}@x.example,Neu," for number in range(1, 7)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"C30 is left to the limits on file sizes in test_faults.py: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return filler


async def test_c30_i3_i20_nothing_is_sent_without_a_journal_and_everything_when_there_is_room(
    world: World, small_disk: Path
) -> None:
    await world.begin(*ROWS)
    async with SmtpOracle(world.folder / "ledger") as oracle:
        settings = settings_for(small_disk, oracle.url, KP_SMTP_CONNECTIONS=1, KP_BACKOFF_SECONDS=0.1)
        with capture_logs() as log:
            async with running(world, settings):
                filler = fill(small_disk)
                await world.run()
                # The letter whose 250 could not be noted is known to the database; the next one gets no T2.
                await until(world, lambda _: any(one["event"] == "journal_failed" for one in log))
                await asyncio.sleep(2 * PROBE_SECONDS)  # it has been tried whether there is room again
                assert len(oracle.mails) == 1
                filler.unlink()
                await until(world, lambda found: set(found.values()) == {"sent"})
        assert sorted(mail.recipient for mail in oracle.mails) == [f"a{n}@x.example" for n in range(1, 7)]


async def test_c30_a_full_disk_under_sqlite_is_waited_for_and_the_file_stays_whole(
    small_disk: Path, tmp_path: Path
) -> None:
    database = Database(f"sqlite:///{small_disk / 'test.sqlite3'}")
    try:
        async with database.begin() as connection:
            await connection.run_sync(metadata.create_all)
        world = World(database, tmp_path)
        await world.begin(*ROWS)
        async with SmtpOracle(world.folder / "ledger") as oracle, running(world, settings_for(tmp_path, oracle.url)):
            filler = fill(small_disk)
            with pytest.raises(Unavailable, match="full"):
                for batch in range(100):
                    await world.applicants(*(f"B{batch}-{n},,B,b{batch}-{n}@x.example,Neu," for n in range(100)))
            filler.unlink()
            await world.run()
            await until(world, lambda found: all(found.get(f"A{n}") == "sent" for n in range(1, 7)))
        async with database.read() as connection:
            assert (await connection.execute(text("PRAGMA integrity_check"))).scalar_one() == "ok"
    finally:
        await database.close()
