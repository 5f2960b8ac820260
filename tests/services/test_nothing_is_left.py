"""After reduction to core data (D42) nothing else of the person is left: canaries in every field, searched everywhere.

The rejection goes the real way: all services in one process, a mail server that defers once, the mailer's journal.
"""

from pathlib import Path

import pytest

from tests.services.canaries import (
    ERASED,
    KEPT,
    REJECTING,
    canaries_in,
    contents,
    plant,
    send_the_rejection,
    settings_for,
    stored_in,
    texts_of,
)
from tests.services.world import World
from tests.smtp_oracle import SmtpOracle
from tests.smtp_scripts import REPLIES, first


async def test_d42_s27_nothing_but_core_data_is_left(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REPLIES, "defer_rcpt_450", ("RCPT", "450 4.2.0 QKreply: greylisted"))
    await world.begin(setup=REJECTING)
    await plant(world)
    planted = "".join(text for _, text in await texts_of(world.database)).casefold()
    assert [word for word in ERASED.values() if word.casefold() not in planted] == []
    async with SmtpOracle(tmp_path / "ledger", first(1, "defer_rcpt_450")) as oracle:
        await send_the_rejection(world, settings_for(tmp_path, oracle))
        (mail,) = oracle.mails
    assert b"QKtitle" in mail.content
    (order,) = [one for one in await world.rows() if one["job_name"] == "Absagen"]
    assert (order["state"], order["attempts"], order["subject"]) == ("sent", 2, None)
    assert order["message_id"].startswith("sha256:") and order["email"].startswith("sha256:")
    left = await texts_of(world.database)
    assert [(table, text) for table, text in left if canaries_in(text)] == []
    (kept,) = [text for table, text in left if table == "applications"]
    words = [word for word in KEPT.values() if "-" not in word and word != "QLset"]
    assert [word for word in words if word not in kept] == []
    assert "QLset" in "".join(text for table, text in left if table == "persons")
    assert canaries_in(contents((tmp_path / "state").rglob("*"))) == set()
    await world.database.close()
    files = stored_in(tmp_path)
    assert bool(files) == (world.database.dialect == "sqlite")
    stored = contents(files)
    assert canaries_in(stored) == set(), stored[stored.casefold().index("qk") - 80 :][:200]
