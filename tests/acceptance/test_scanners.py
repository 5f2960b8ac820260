"""Mail scanners follow every link of every mail; candidates press a button once or twice; others forge links (S25)."""

import re
import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import httpx
from sqlalchemy import NullPool, create_engine, make_url, select

from shared.db.tables import metadata
from tests.mail_server import MailServer
from tests.servers.processes import free_port
from tests.stacks import EXPECTED, Stack

#: Rows that a running system writes by itself.
RESTLESS = {"service_instances", "queue_depths", "person_changes", "daily_chores", "event_seals", "unsealed_events"}
JOBS = ("Geburtstagsgrüße", "Endgültige Absage Pool")
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def everything(stack: Stack) -> dict[str, list[Any]]:
    """What the database holds, table by table."""
    url = make_url(stack.environment["DATABASE_URL"])
    drivername = "sqlite" if stack.embedded else "postgresql+psycopg"
    engine = create_engine(url.set(drivername=drivername), poolclass=NullPool)
    with engine.connect() as connection:
        tables = [table for table in metadata.sorted_tables if table.name not in RESTLESS]
        return {table.name: sorted(map(repr, connection.execute(select(table)))) for table in tables}


def at_rest(stack: Stack) -> dict[str, list[Any]]:
    """The same once nothing is planned any more: all jobs are switched off, and what was under way has ended."""
    for job in stack.answer("job", "list"):
        stack.cli("job", "set", job["name"], "status=Aus")
    seen = [everything(stack)]

    def is_still() -> bool:
        time.sleep(1)
        seen.append(everything(stack))
        return seen[-2] == seen[-1]

    stack.wait_for(is_still, 60, "rest")
    return seen[-1]


def parsed(content: bytes) -> EmailMessage:
    found = message_from_bytes(content, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def links_of(mail: EmailMessage) -> set[str]:
    """Whatever a scanner takes for a link, in headers and bodies."""
    texts = [str(value) for value in mail.values()]
    texts += [part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"]
    return {link for text in texts for link in re.findall(r"https?://[^\s<>\"']+", text)}


def changed(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_s25_scanners_change_nothing_and_one_click_unsubscribes_once(stack: Stack, smtp: MailServer) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/pflege"
    stack.environment |= {"KP_LINK_KEYS": "0123456789abcdef" * 2, "KP_PUBLIC_URL": url, "KP_PUBLIC_PORT": str(port)}
    stack.load_sample()
    stack.start()
    if not stack.embedded:
        stack.start("public")
    for job in JOBS:
        stack.answer("job", "run", job, "--on", "2026-11-23", "--wait", "120")
    mails = [parsed(one.content) for one in smtp.accepted]
    assert len(mails) == sum(EXPECTED[job] for job in JOBS)
    stack.wait_for(lambda: stack.has_logged("public_listens"), 30, "the page's start")

    links = {link for mail in mails for link in links_of(mail)}
    unsubscribe = {str(mail["X-Kontaktpflege-Order"]): str(mail["List-Unsubscribe"])[1:-1] for mail in mails}
    assert {mail["List-Unsubscribe-Post"] for mail in mails} == {"List-Unsubscribe=One-Click"}
    assert links >= set(unsubscribe.values()) and len(unsubscribe) == len(mails)
    for mail, link in zip(mails, unsubscribe.values(), strict=True):
        assert link.startswith(f"{url}/p/") and str(mail["To"]) not in link

    before = at_rest(stack)
    with httpx.Client() as scanner:
        for number, link in enumerate(sorted(links)):
            came_from = {"X-Forwarded-For": f"192.0.2.{number % 250}"}
            for method in ("HEAD", "GET"):
                answer = scanner.request(method, link, headers=came_from, follow_redirects=True)
                assert answer.status_code == 200, link
                for own in sorted(set(re.findall(r'(?:href|action)="(\?[^"]*)"', answer.text))):
                    assert scanner.get(link + own, headers=came_from).status_code == 200
        assert changed(before, everything(stack)) == set()
        _press_once(stack, scanner, unsubscribe)
    assert set(stack.stop().values()) == {0}
    logs = "".join(path.read_text(errors="replace") for path in stack.folder.glob("*.log"))
    # A link is a key.
    assert not any(link.rpartition("/")[2] in logs for link in links)


def _press_once(stack: Stack, scanner: httpx.Client, unsubscribe: dict[str, str]) -> None:
    (order, link), (_, other), *_ = unsubscribe.items()
    orders = {str(one["id"]): one["application"] for one in stack.answer("order", "list", "--on", "2026-11-23")}
    application = orders[order]
    before = everything(stack)
    token, theirs = link.rpartition("/")[2], other.rpartition("/")[2]
    forged = [token[:-1], token[1:], token + "a", token[:-1] + ("a" if token[-1] != "a" else "b"), "a" * 42]
    swapped = token[:-26] + theirs[-26:]
    for one in (*forged, swapped):
        for answer in (scanner.get(link.replace(token, one)), scanner.post(link.replace(token, one), data=ONE_CLICK)):
            assert answer.status_code == 403
    assert changed(before, everything(stack)) == set()

    assert stack.answer("person", "show", application)["opted_out_at"] is None
    assert scanner.post(link, data=ONE_CLICK).status_code == 200
    # Noted a moment later by a scheduler: the page reads no address.
    stack.wait_for(lambda: "suppressions" in changed(before, everything(stack)), 30, "the note of the wish")
    after = everything(stack)
    assert {"persons", "events", "suppressions"} <= changed(before, after) and not after["wishes_to_note"]
    assert scanner.post(link, data=ONE_CLICK).status_code == 200
    assert changed(after, everything(stack)) == set()
    shown = stack.answer("person", "show", application)
    assert shown["opted_out_by"] == "candidate" and application in {one["external_id"] for one in shown["applications"]}
