"""Hostile names and addresses, from the imported file to the mail server: one letter each, and nothing of their own.

What is judged is what arrived: every command the server heard, and the bytes of every mail (S5, S6, S7, S8, S9).
"""

import asyncio
import csv
import io
import json
import re
import time
from collections import Counter
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import insert

from shared.db.tables import users
from shared.domain.link_tokens import LinkTokens
from shared.domain.return_paths import ReturnPaths
from shared.public_links import PublicLinks
from tests.hostile_people import ADDRESSES, NAMES
from tests.services.import_files import Files
from tests.services.running import running, settings_for
from tests.services.world import SETUP, World
from tests.smtp_ledger import TakenMail
from tests.smtp_oracle import SmtpOracle

PATIENCE = 120.0
HTML = (
    '<p title="{{ applicant.last_name }}">{{ salutation_line }}</p>'
    "<p>{{ applicant.street | default('-') }} {{ application.custom.Notiz | default('-') }}</p>"
)
LETTER = (
    f"letters:\n  - {{name: Brief, subject: {json.dumps('Zu {{ applicant.last_name }}')}, html: {json.dumps(HTML)}}}\n"
)
HOSTILE = re.sub(r"letters:\n  - \{name: Brief,.*\n", lambda _: LETTER, SETUP).replace(
    'sender: "user:a.weber"', "sender: recruiter"
)
FIELDS = ("salutation", "title", "first_name", "last_name", "street", "city", "vacancy", "custom.Notiz")
#: Every header of a letter, in its order.
HEADERS = [
    *("From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "X-Kontaktpflege-Order", "Auto-Submitted"),
    *("List-Unsubscribe", "List-Unsubscribe-Post", "Content-Type"),
]
LINK_KEY, PAGE = "a-secret-of-links-for-hostile-people-only", "https://firma.example/pflege"
#: Letters name the page where one unsubscribes, and come back to an address of their own.
LINKED = {"KP_LINK_KEYS": LINK_KEY, "KP_PUBLIC_URL": PAGE, "KP_BOUNCE_ADDRESS": "bounce@mail.firma.example"}
PATHS = ReturnPaths(LINKED["KP_BOUNCE_ADDRESS"], LinkTokens([LINK_KEY]))
LINKS = PublicLinks(PAGE, LinkTokens([LINK_KEY]))
CONTROLS = re.compile("[\x00-\x20\x7f-\x9f\u2028\u2029]+")


def people() -> list[dict[str, str]]:
    """Each name in every field, with an address of no harm; each address, with such a name too."""
    by_name = [dict.fromkeys(FIELDS, name) | {"email": f"n{n}@x.example"} for n, name in enumerate(NAMES)]
    by_address = [
        dict.fromkeys(FIELDS, NAMES[n % len(NAMES)]) | {"email": address.replace("§", f"q{n}")}
        for n, address in enumerate(ADDRESSES)
    ]
    return [
        {"external_id": f"P{n}", "status": "Neu", "recruiter": f"r{n % len(NAMES)}"} | one
        for n, one in enumerate(by_name + by_address)
    ]


def reached(address: str) -> str | None:
    """Where a letter to this address goes, by the library alone; None: nowhere."""
    try:
        found = validate_email(address.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return f"{found.local_part}@{found.ascii_domain}"


def as_csv(rows: list[dict[str, str]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


async def begin(world: World, everybody: list[dict[str, str]]) -> None:
    """One half comes as CSV, the other as JSON Lines; recruiters have hostile names too."""
    await world.begin(setup=HOSTILE)
    recruiters = [
        {"name": f"r{n}", "name_folded": f"r{n}", "display_name": name, "email": f"r{n}@firma.example", "role": "view"}
        for n, name in enumerate(NAMES)
    ]
    async with world.database.begin() as connection:
        await connection.execute(insert(users), recruiters)
    files = Files(world.database, world.folder)
    halves = everybody[::2], everybody[1::2]
    for report in (
        await files.applications(as_csv(halves[0])),
        await files.applications("".join(json.dumps(one) + "\n" for one in halves[1]), name="a.jsonl"),
    ):
        # Only what no text of a database can hold is refused, with its row.
        assert {(row.column, row.reason) for row in report.bad_rows} <= {("email", "holds a NUL character")}


async def ended(world: World) -> dict[str, dict[str, Any]]:
    end = time.monotonic() + PATIENCE
    while True:
        found = await world.rows()
        states = Counter(row["state"] for row in found)
        if found and set(states) <= {"sent", "no_address", "failed", "unclear"}:
            return {row["external_id"]: row for row in found}
        assert time.monotonic() < end, states
        await asyncio.sleep(0.2)


async def test_s5_s6_s7_s8_s9_two_hundred_hostile_people_get_one_letter_each_and_nothing_else_is_sent(
    world: World, tmp_path: Path
) -> None:
    everybody = [one for one in people() if "\x00" not in one["email"]]
    assert len(everybody) >= 200
    await begin(world, people())
    await world.run()
    patient = {"KP_LEASE_SECONDS": 60, "KP_REPLY_LEASE_SECONDS": 60, **LINKED}
    async with SmtpOracle(tmp_path / "ledger") as oracle, running(world, settings_for(tmp_path, oracle.url, **patient)):
        orders = await ended(world)
    expected = {one["external_id"]: reached(one["email"]) for one in everybody}
    assert {name: row["state"] for name, row in orders.items()} == {
        name: "sent" if address else "no_address" for name, address in expected.items()
    }
    # Of the hostile addresses some are valid, however odd: both sides of the rule are tried.
    assert 30 < sum(one is not None for one in expected.values()) - len(NAMES) < 60
    verbs = Counter(oracle.verbs)
    assert set(verbs) <= {"EHLO", "MAIL", "RCPT", "DATA", "QUIT"}
    assert verbs["MAIL"] == verbs["RCPT"] == verbs["DATA"] == len(oracle.mails)
    by_order = {row["id"]: name for name, row in orders.items()}
    arrived = {}
    for mail in oracle.mails:
        message = read(mail)
        name = by_order[int(str(message["X-Kontaktpflege-Order"]))]
        assert name not in arrived, "a second letter"
        arrived[name] = mail.recipient
        check(message, mail, next(one for one in everybody if one["external_id"] == name))
    assert arrived == {name: address for name, address in expected.items() if address}


def read(mail: TakenMail) -> EmailMessage:
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", mail.content)
    head = mail.content.partition(b"\r\n\r\n")[0]
    assert re.findall(rb"^([^\s:]+):", head, re.MULTILINE) == [name.encode() for name in HEADERS]
    message = message_from_bytes(mail.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def check(message: EmailMessage, mail: TakenMail, person: dict[str, str]) -> None:
    # As it is written: an address that looks like an encoded word is none, whatever a reader makes of it.
    assert re.findall(rb"^To: (\S+)\r\n\S", mail.content, re.MULTILINE) == [mail.recipient.encode()]
    assert len(message["To"].addresses) == 1
    assert [one.addr_spec for one in message["From"].addresses] == [f"{person['recruiter']}@firma.example"]
    order = int(str(message["X-Kontaktpflege-Order"]))
    assert mail.sender == PATHS.of(order)
    assert re.findall(rb"^List-Unsubscribe: (.*)\r\n\S", mail.content, re.MULTILINE) == [
        f"<{LINKS.preferences(order)}>".encode()
    ]
    # Line ends and the like count as blanks or as nothing; words that look encoded are read so by the standard library.
    said, meant = (CONTROLS.sub("", text) for text in (str(message["Subject"]), f"Zu {person['last_name']}"))
    assert said == meant or "=?" in meant
    assert [part.get_content_type() for part in message.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    html = message.get_body(("html",))
    assert html is not None
    elements = Elements()
    elements.feed(str(html.get_content()))
    assert elements.found == [("p", ["title"]), ("p", [])]


class Elements(HTMLParser):
    """Every element of a letter with the names of its attributes; anything else is somebody's own."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[tuple[str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [name for name, _ in attrs]))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl}")

    unknown_decl = handle_decl
