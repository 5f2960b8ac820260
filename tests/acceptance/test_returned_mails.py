"""Bounces and answers, end to end: letters over SMTP, what comes back by pipe and by IMAP (Dovecot), the next ones."""

import io
import re
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import make_certificate
from tests.mail_server import MailServer
from tests.returned_mails import returned_mail
from tests.servers.dovecot import PASSWORD, Dovecot
from tests.smtp_ledger import TakenMail
from tests.stacks import Stack

JOB = "Prozesshänger"
FIRST, NEXT = "2026-11-23", "2027-01-25"
A_MONTH_LATER = "2026-12-23T10:00:00+01:00"
ASKED_OF_ALL = "queries: [{name: Kontakt fehlend, filters: [{field: days_since_last_contact, more_than: 60}]}]"
_MESSAGE_ID = re.compile(rb"^Message-ID: (<.*>)\r$", re.MULTILINE)


@pytest.fixture
def certificate_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file, _ = make_certificate(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return tmp_path


def returned(name: str, letter: TakenMail, **changes: str) -> bytes:
    """A mail of the corpus about a letter that the SMTP server took."""
    found = _MESSAGE_ID.search(letter.content)
    assert found
    mail = returned_mail(name, letter=found[1].decode(), bounce=letter.sender, address=letter.recipient)
    for old, new in changes.items():
        mail = re.sub(b"^%b: .*$" % old.encode(), f"{old}: {new}\r".encode(), mail, flags=re.MULTILINE)
    return mail


def pipe(stack: Stack, mail: bytes, *arguments: str, **environment: str) -> Any:
    """The mail server hands a mail over, as Postfix's pipe(8) does."""
    path = stack.folder / "piped"
    path.write_bytes(mail)
    with path.open("rb") as file:
        stdin = io.TextIOWrapper(file)
        return stack.cli("mailbox", "deliver", *arguments, check=False, stdin=stdin, **environment)


def application(stack: Stack, name: str) -> Any:
    person = stack.answer("person", "show", name)
    return next(one for one in person["applications"] if one["external_id"] == name), person


def returning_to(imap: Dovecot, certificate_folder: Path) -> dict[str, str]:
    """The settings of signed return paths and of the mailbox that they lead to."""
    return {
        "SSL_CERT_FILE": str(certificate_folder / "cert.pem"),
        "KP_BOUNCE_ADDRESS": "bounce@mail.firma.example",
        "KP_LINK_KEYS": "a secret for signing that only this test has".replace(" ", "-"),
        "KP_IMAP_URL": imap.url,
        "KP_IMAP_PASSWORD": PASSWORD,
        "KP_IMAP_POLL_SECONDS": "0.3",
    }


def test_s32_bounces_and_answers_from_smtp_to_the_next_letter(
    stack: Stack, smtp: MailServer, certificate_folder: Path
) -> None:
    with Dovecot(certificate_folder) as imap:
        stack.environment |= returning_to(imap, certificate_folder)
        stack.load_many(5)
        stack.start("scheduler", "evaluator", "mailer", "mailbox")
        stack.cli("job", "set", JOB, "repeat_guard_days=0")
        assert stack.answer("job", "run", JOB, "--on", FIRST)["orders"] == 5
        stack.wait_for(lambda: stack.states() == {"sent": 5}, 60, "sending")
        letters = {mail.recipient: mail for mail in smtp.accepted}
        assert len({mail.sender for mail in letters.values()}) == 5
        for mail in letters.values():
            assert re.fullmatch(r"bounce\+[a-z2-7]{42}@mail\.firma\.example", mail.sender)
        by_pipe, by_imap, answered, away, unhurt = (letters[f"t{number}@firma.example"] for number in range(5))

        # One hard bounce each way; the one by pipe is known by its envelope recipient alone, lowered on its way.
        bounce = returned("hard.exchange-2003-no-code", by_pipe).replace(
            by_pipe.sender.encode(), b"someone@firma.example"
        )
        done = pipe(stack, bounce, "--recipient", by_pipe.sender.upper())
        assert done.returncode == 0, done.stderr
        imap.put("1", returned("hard.postfix-user-unknown", by_imap))
        imap.put("2", returned("auto_reply.exchange-german", away))
        imap.put("3", b"From: x@y.example\nSubject: no letter of ours\nMessage-ID: <odd@y.example>\n\nHello\n")
        reply = returned("reply.thunderbird-german", answered, Date="Wed, 23 Dec 2026 09:30:00 +0100")
        assert pipe(stack, reply, KP_CLOCK_START=A_MONTH_LATER).returncode == 0
        stack.wait_for(lambda: not imap.mails() and bool(imap.mails("kontaktpflege-not-understood")), 60, "reading")

        assert len(imap.mails("kontaktpflege-returned")) == 2 and "no letter of ours" in str(
            imap.mails("kontaktpflege-not-understood")
        )
        for number, reachable in enumerate((False, False, True, True, True)):
            found, person = application(stack, f"T-{number:04d}")
            assert found["reachable"] is reachable, (found, stack.logs())
            assert bool(found["returned_at"]) is not reachable
            kinds = [one["kind"] for one in person["returned_mails"]]
            assert kinds == [["hard"], ["hard"], ["reply"], ["auto_reply"], []][number]
        # The answer stays for people to read; a copy of it that comes again changes nothing.
        kept = list((stack.folder / "state" / "mailbox" / "kontaktpflege-replies" / "new").iterdir())
        assert [file.read_bytes() for file in kept] == [reply]
        assert pipe(stack, reply, KP_CLOCK_START=A_MONTH_LATER).returncode == 0
        assert application(stack, "T-0002")[0]["last_contact_at"].startswith("2026-12-23T0")

        # Two months after the letters: who answered a month ago is not forgotten.
        theirs = stack.answer("query", "list", "Kontakt fehlend", "--on", NEXT)["recipients"]
        assert [one["application"] for one in theirs] == ["T-0003", "T-0004"]  # `has_email` is false of the others
        (stack.folder / "all.yaml").write_text(ASKED_OF_ALL, encoding="utf-8")
        stack.cli("apply", str(stack.folder / "all.yaml"))
        ran = stack.answer("job", "run", JOB, "--on", NEXT, "--yes")
        assert (ran["orders"], ran["recipients_without_address"]) == (4, 2)
        stack.wait_for(lambda: stack.states(NEXT) == {"sent": 2, "no_address": 2}, 60, "the next letters")
        assert {mail.recipient for mail in smtp.accepted[5:]} == {away.recipient, unhurt.recipient}
        reasons = {order["reason"] for order in stack.answer("order", "list", "--on", NEXT) if order["reason"]}
        assert reasons == {f"letters come back from t{number}@firma.example" for number in (0, 1)}
        stack.cli("doctor", "mailbox")


def test_s32_a_pipe_is_told_what_to_do_with_a_mail(stack: Stack) -> None:
    stack.load_many(1)
    assert pipe(stack, b"").returncode == pipe(stack, b"\0no mail\n").returncode == 65
    mail = returned_mail("reply.thunderbird-german")
    # Nothing is lost: the mail server keeps it, whatever is wrong here.
    for wrong in (
        {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"},
        {"KP_TYPO": "1"},
        {"KP_BOUNCE_ADDRESS": "no address"},
        {"KP_LOG_LEVEL": "loud"},
    ):
        done = pipe(stack, mail, **wrong)
        assert (done.returncode, done.stderr.count("\n")) == (75, 1), done
    (stack.folder / "state").mkdir(exist_ok=True)
    in_the_way = stack.folder / "state" / "mailbox"
    in_the_way.write_text("")
    assert pipe(stack, mail).returncode == 75
    in_the_way.unlink()
    assert pipe(stack, b"From someone Mon Nov 23\n" + mail).returncode == 0
    (kept,) = (in_the_way / "kontaktpflege-not-understood" / "new").iterdir()
    assert kept.read_bytes() == mail and kept.stat().st_mode & 0o077 == 0


def test_a_mailbox_is_run_only_where_one_is_set(stack: Stack) -> None:
    done = stack.cli("run", "mailbox", check=False)
    assert done.returncode == 1 and "setting KP_IMAP_URL: is needed" in done.stderr
