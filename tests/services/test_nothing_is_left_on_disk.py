"""After reduction and what docs/retention.md says besides, no file of PostgreSQL or RabbitMQ has a word (D42, S27).

A cluster and a node of the test's own: their whole folders are read.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.chaos.nodes import Broker, DatabaseServer
from tests.services.canaries import ERASED, REJECTING, SAID, contents, plant, send_the_rejection, settings_for
from tests.services.schemas import open_with_schema
from tests.services.world import World
from tests.smtp_oracle import SmtpOracle
from tests.smtp_scripts import REPLIES, first


@pytest.fixture
def cluster() -> Iterator[DatabaseServer]:
    server = DatabaseServer()
    yield server
    server.close()


@pytest.fixture
def broker() -> Iterator[Broker]:
    node = Broker()
    yield node
    node.close()


def execute(url: str, *statements: str) -> list[str]:
    """Statements outside of any transaction; the first column of the last one's rows."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        for statement in statements:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
        return [str(row[0]) for row in cursor] if cursor.description else []


#: The words themselves: two letters alone occur in any catalog.
WORDS = [word.casefold() for word in (*ERASED.values(), "custom.QKname".partition(".")[2])]
WORDS += ["qksubject", "qkbody", "qkuser", "qkid1", "qkold", "qknew", "qkreason", "qkblock", "qkcreator", "qkreply"]
WORDS += ["qkbad@", "<order-", *(word.casefold() for word in SAID)]


def words_in(folder: Path) -> dict[str, list[str]]:
    """The canaries of each file of a folder that has any."""
    found = {}
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        text = contents([path]).casefold()
        if words := [word for word in WORDS if word in text]:
            found[str(path.relative_to(folder))] = words
    return found


@pytest.mark.timeout(300)
async def test_d42_postgresql_and_rabbitmq_have_no_word_left(
    cluster: DatabaseServer, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REPLIES, "defer_rcpt_450", ("RCPT", "450 4.2.0 QKreply: greylisted"))
    (data,) = map(Path, execute(cluster.url, "SHOW data_directory"))
    world = World(await open_with_schema(cluster.url), tmp_path)
    await world.begin(setup=REJECTING)
    await plant(world)
    async with SmtpOracle(tmp_path / "ledger", first(1, "defer_rcpt_450")) as oracle:
        # With what a planner keeps of columns: it has their commonest values.
        execute(cluster.url, "ANALYZE", "CHECKPOINT")
        planted = {word for words in words_in(data / "base").values() for word in words}
        assert planted >= set(WORDS) - {"qkreply", "<order-"}
        await send_the_rejection(world, settings_for(tmp_path, oracle), broker.url)
    await world.database.close()
    assert words_in(broker.folder) == {} and any(broker.folder.rglob("*.wal"))
    assert words_in(tmp_path / "state") == {}
    execute(cluster.url, "CHECKPOINT")
    assert words_in(data / "base") and words_in(data / "pg_wal")  # erased is not yet overwritten
    # The second one: what the planner had kept of the columns before.
    execute(cluster.url, "VACUUM (FULL, ANALYZE)", "VACUUM FULL pg_statistic", "CHECKPOINT")
    assert words_in(data / "base") == {}
    execute(cluster.url, "ALTER SYSTEM SET wal_recycle = off", "SELECT pg_reload_conf()")
    execute(cluster.url, *("SELECT pg_switch_wal()", "CHECKPOINT") * 3)
    assert words_in(data) == {}
