"""`kontaktpflege doctor` before a real mailbox: what is wrong with it is found, and it stays as it is."""

from collections.abc import Iterator

import pytest

from tests.acceptance.installation import Installation, Servers
from tests.acceptance.test_doctor import of_its_own
from tests.servers.dovecot import PASSWORD, Dovecot


@pytest.fixture(scope="module")
def imap(own_servers: Servers) -> Iterator[Dovecot]:
    with Dovecot(own_servers.certificate.parent) as server:
        yield server


def test_a_mailbox_is_opened_and_left_as_it_is(house: Installation, imap: Dovecot) -> None:
    imap.put("1", b"From: a@b.example\n\nfirst\n")
    given = {"KP_IMAP_URL": imap.url, "KP_IMAP_PASSWORD": PASSWORD}
    report = house.doctor(**given)
    (said,) = [one["value"] for one in report.findings if one["check"] == "mailbox"]
    assert "lets us in, TLS implicit, 1 mails in INBOX" in said and report.wrong == []
    assert imap.mails() == [b"From: a@b.example\n\nfirst\n"]


def test_a_wrong_password_of_the_mailbox(house: Installation, imap: Dovecot) -> None:
    given = {"KP_IMAP_URL": imap.url, "KP_IMAP_PASSWORD": f"{PASSWORD}-alt"}
    # Letters go out all the same; only whoever is to read the mailbox can do nothing.
    for role in ("all", "mailbox"):
        database = of_its_own(house, "mailbox") if role == "mailbox" else {}
        report = house.doctor(role, **given, **database)
        report.the_only_trouble(
            "mailbox",
            place="setting KP_IMAP_URL",
            value="AUTHENTICATIONFAILED",
            fix="correct host, port, user and folder in KP_IMAP_URL, or KP_IMAP_PASSWORD",
            grave=role == "mailbox",
        )
        assert PASSWORD not in str(report)


def test_a_folder_that_the_mailbox_does_not_have(house: Installation, imap: Dovecot) -> None:
    given = {"KP_IMAP_URL": f"{imap.url}/Weg", "KP_IMAP_PASSWORD": PASSWORD}
    house.doctor("mailbox", **given, **of_its_own(house, "mailbox")).the_only_trouble(
        "mailbox", place="setting KP_IMAP_URL", value="folder Weg: ", fix="folder in KP_IMAP_URL"
    )
