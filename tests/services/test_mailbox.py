"""The reader with a real IMAP server (Dovecot): nothing is lost or counted twice, nothing stands in the way."""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.mailbox import service
from services.mailbox.imap import Mailbox, open_mailbox, parse_imap_url
from services.mailbox.service import run_mailbox
from shared.db.tables import contact_entries, returned_mails
from shared.errors import Conflict, InvalidSettings, Unavailable
from shared.settings import load_settings
from tests.certificates import make_certificate
from tests.returned_mails import returned_mail
from tests.servers.dovecot import PASSWORD, USER, Dovecot
from tests.services.share_roles import by_its_role
from tests.services.test_returned_mails import PATHS, sent
from tests.services.world import World

RETURNED, REPLIES, ODD = (f"kontaktpflege-{name}" for name in ("returned", "replies", "not-understood"))
DEADLINE = 20.0


@pytest.fixture
def imap(certificate: ssl.SSLContext, tmp_path: Path) -> Iterator[Dovecot]:
    assert certificate
    with Dovecot(tmp_path) as server:
        yield server


@asynccontextmanager
async def reading(world: World, imap: Dovecot, **given: Any) -> AsyncIterator[None]:
    """`run mailbox`, looking often."""
    values = {"KP_IMAP_URL": imap.url, "KP_IMAP_PASSWORD": PASSWORD, "KP_IMAP_POLL_SECONDS": "0.05"} | given
    settings = load_settings(values)
    stop = asyncio.Event()
    place = parse_imap_url(values["KP_IMAP_URL"], PASSWORD)
    async with by_its_role(world.database, "mailbox") as database:
        task = asyncio.create_task(run_mailbox(database, world.clock, settings, place, world.log, stop))
        try:
            yield
            assert not task.done(), "the reader ended"
        finally:
            stop.set()
            await task


async def until(holds: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not (found := holds()):
        assert time.monotonic() < end, what
        await asyncio.sleep(0.05)
    assert found


async def corpus_mail(world: World, name: str) -> bytes:
    row = (await world.rows())[0]
    return returned_mail(name, letter=row["message_id"], bounce=PATHS.of(row["id"]), address=row["email"])


def counted(kind: str) -> float:
    return REGISTRY.get_sample_value("kontaktpflege_returned_mails_total", {"kind": kind}) or 0.0


async def test_s32_every_mail_is_read_once_and_put_where_people_find_it(world: World, imap: Dovecot) -> None:
    await sent(world)
    before = {kind: counted(kind) for kind in ("hard", "reply", "unknown")}
    imap.put("1", await corpus_mail(world, "hard.qmail-no-mailbox"))
    imap.put("2", await corpus_mail(world, "reply.outlook-html-only"))
    imap.put("3", await corpus_mail(world, "unknown.abuse-complaint"))
    imap.put("4", await corpus_mail(world, "hard.qmail-no-mailbox"))  # a copy
    with capture_logs() as logs:
        async with reading(world, imap):
            await until(lambda: not imap.mails() and imap.mails(ODD), "an empty mailbox")
    assert {name: len(imap.mails(name)) for name in (RETURNED, REPLIES, ODD)} == {RETURNED: 2, REPLIES: 1, ODD: 1}
    assert await world.count(returned_mails) == 2
    assert {kind: counted(kind) - before[kind] for kind in before} == {"hard": 1, "reply": 1, "unknown": 1}
    said = [one for one in logs if one.get("action") == "mail_returned"]
    assert [one["effect"] for one in said].count("repeated") == 1
    (odd,) = [one for one in said if one["log_level"] == "warning"]
    assert odd["message_id"] == "<arf-1@other.example>"
    # Nothing personal is in the log.
    assert "a1@x.example" not in str(logs) and "Grüße" not in str(logs)


async def test_s32_a_crash_between_commit_and_move_doubles_nothing(
    world: World, imap: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sent(world)
    moved, crashes = Mailbox.put_away, []

    def crash_twice(self: Mailbox, uid: int, folder: str) -> None:
        if len(crashes) < 2:
            crashes.append(uid)
            raise OSError("the connection is gone")
        moved(self, uid, folder)

    monkeypatch.setattr(Mailbox, "put_away", crash_twice)
    imap.put("1", await corpus_mail(world, "reply.thunderbird-german"))
    async with reading(world, imap):
        await until(lambda: imap.mails(REPLIES), "the reply in its folder")
    assert len(crashes) == 2 and not imap.mails()
    assert await world.count(contact_entries, contact_entries.c.direction == "incoming") == 1
    assert await world.count(returned_mails) == 1


async def test_s32_a_mail_that_breaks_the_reader_stands_in_nobodys_way(
    world: World, imap: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sent(world)
    read = service.read_mail

    async def break_at_the_first(reader: Any, raw: bytes) -> Any:
        if b"poison" in raw:
            raise RuntimeError("a bug")
        return await read(reader, raw)

    monkeypatch.setattr(service, "read_mail", break_at_the_first)
    imap.put("1", b"From: a@b.example\nSubject: poison\n\nx\n")
    imap.put("2", await corpus_mail(world, "hard.qmail-no-mailbox"))
    async with reading(world, imap):
        await until(lambda: imap.mails(RETURNED), "the second mail")
    assert b"poison" in imap.mails(ODD)[0] and not imap.mails()


async def test_s32_a_bounce_behind_one_mail_about_two_letters_is_read(world: World, imap: Dovecot) -> None:
    await sent(world, "A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")
    for number, row in enumerate(await world.rows()):
        imap.put(f"{number}", returned_mail("reply.thunderbird-german", letter=row["message_id"]))
    imap.put("9", await corpus_mail(world, "hard.qmail-no-mailbox"))
    async with reading(world, imap):
        await until(lambda: not imap.mails() and imap.mails(RETURNED), "the bounce in its folder")
    assert (len(imap.mails(REPLIES)), len(imap.mails(ODD))) == (2, 0)


async def test_s32_a_mail_that_keeps_conflicting_is_put_aside_after_some_looks(
    world: World, imap: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sent(world)
    read, tries = service.read_mail, Counter[str]()

    async def conflict(reader: Any, raw: bytes) -> Any:
        for name, times in (("always", 1000), ("once", 1)):
            if f"Subject: {name}".encode() in raw and tries[name] < times:
                tries[name] += 1
                raise Conflict("others are always quicker")
        return await read(reader, raw)

    monkeypatch.setattr(service, "read_mail", conflict)
    imap.put("1", b"From: a@b.example\nSubject: always\n\nx\n")
    imap.put("2", b"From: a@b.example\nSubject: once\n\nx\n")
    imap.put("3", await corpus_mail(world, "hard.qmail-no-mailbox"))
    async with reading(world, imap):
        await until(lambda: not imap.mails() and imap.mails(RETURNED), "the bounce behind them")
    assert tries == {"always": service.MOST_CONFLICTS, "once": 1} and len(imap.mails(ODD)) == 2


async def test_s32_a_mailbox_full_of_mail_is_read_in_parts_and_large_mails_only_at_their_beginning(
    world: World, imap: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sent(world)
    monkeypatch.setattr("services.mailbox.imap.MOST_MAILS", 3)
    large = await corpus_mail(world, "reply.thunderbird-german") + b"x" * 77 * 100_000
    for number in range(7):
        imap.put(f"{number}", b"From: a@b.example\nMessage-ID: <%d@b.example>\n\nx\n" % number)
    imap.put("9", large)
    looks = []
    waiting = Mailbox.waiting
    monkeypatch.setattr(Mailbox, "waiting", lambda self: looks.append(len(waiting(self))) or waiting(self))
    async with reading(world, imap):
        await until(lambda: not imap.mails() and imap.mails(REPLIES), "an empty mailbox")
    assert len(imap.mails(ODD)) == 7 and looks[:3] == [3, 3, 2]
    # The mail itself is whole.
    assert len(imap.mails(REPLIES)[0]) > 7_000_000


async def test_a_server_without_move_has_no_mail_twice(
    world: World, imap: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sent(world)
    begin = Mailbox.__init__

    def without(self: Mailbox, *given: Any) -> None:
        begin(self, *given)
        self._offers -= {"MOVE", "UIDPLUS"}

    monkeypatch.setattr(Mailbox, "__init__", without)
    imap.put("1", await corpus_mail(world, "hard.qmail-no-mailbox"))
    async with reading(world, imap):
        await until(lambda: not imap.mails() and imap.mails(RETURNED), "the mail in its folder")
        await asyncio.sleep(0.2)  # several looks more
    assert len(imap.mails(RETURNED)) == 1


def test_s10_only_a_server_that_its_certificate_names_hears_the_password(
    imap: Dovecot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = f"imap+starttls://{USER}@localhost:{imap.plain_port}"
    for url in (imap.url, tls):
        with open_mailbox(parse_imap_url(url, PASSWORD), 5) as opened:
            assert opened.messages == 0
        # Another name than the certificate's.
        with (
            pytest.raises(Unavailable, match="certificate"),
            open_mailbox(parse_imap_url(url.replace("localhost", "127.0.0.1"), PASSWORD), 5),
        ):
            pass
    with pytest.raises(Unavailable, match="AUTHENTICATIONFAILED"), open_mailbox(parse_imap_url(tls, "wrong"), 10):
        pass
    with (
        pytest.raises(Unavailable, match="folder Elsewhere"),
        open_mailbox(parse_imap_url(f"{tls}/Elsewhere", PASSWORD), 5),
    ):
        pass
    (tmp_path / "other").mkdir()
    other, _ = make_certificate(tmp_path / "other", "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    with pytest.raises(Unavailable, match="certificate"), open_mailbox(parse_imap_url(imap.url, PASSWORD), 5):
        pass
    logins = imap.log().count("Login: user=<bounce>")
    assert logins == 3  # twice with a certificate that was right, and the folder that is not there


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("http://a@b.example", "x"),
        ("imaps://b.example", "x"),
        ("imaps://a@b.example", None),
        ("imap://a@b.example", "x"),
        ("imaps://a@b.example:99999", "x"),
        ("imaps://a@b.example/Post\u00e4", "x"),
        ("imaps://a@b.example/a%22b", "x"),
        ("imaps://a@b.example/a?b", "x"),
    ],
)
def test_an_address_of_a_mailbox_that_is_none_is_refused(url: str, password: str | None) -> None:
    with pytest.raises(InvalidSettings, match="KP_IMAP_URL"):
        parse_imap_url(url, password)


def test_the_parts_of_an_address_of_a_mailbox() -> None:
    place = parse_imap_url("imaps://a%40b.example:p%2Fw@[::1]:1993/INBOX/Returned")
    assert (place.user, place.password, place.address, place.folder) == (
        "a@b.example",
        "p/w",
        "[::1]:1993",
        "INBOX/Returned",
    )
    assert "p/w" not in repr(place)
