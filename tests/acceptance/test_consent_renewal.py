"""Consent letters end to end: sent, their links followed by scanners, answered by button or not at all (S25)."""

from typing import Any

import httpx

from tests.acceptance.test_scanners import at_rest, changed, everything, links_of, parsed
from tests.mail_server import MailServer
from tests.servers.processes import free_port
from tests.stacks import Stack

JOB = "Einwilligung"
SETUP = """
settings: {time_zone: Europe/Berlin, sender: "HR <hr@firma.example>", reduce_core_data: at_once, core_data_keeps: []}
statuses: [{name: Neu, meta: new}, {name: Absage, meta: rejected}]
queries: [{name: Pool, filters: [{field: in_pool, is: true}]}]
letters:
  - name: Frage
    subject: "Dürfen wir Ihre Daten behalten, {{ applicant.last_name }}?"
    html: '<p><a href="{{ links.stay }}">bleiben</a> <a href="{{ links.delete }}">löschen</a></p>'
    text: "bleiben: {{ links.stay }} löschen: {{ links.delete }}"
jobs:
  - {name: Einwilligung, status: An, query: Pool, letter: Frage, dispatch: rolling, time: "08:00",
     sender: "HR <hr@firma.example>", consent: {answer_days: 30, status: Absage}}
"""
PEOPLE = """external_id,last_name,email,status,in_pool,pool_since,city
stays,Eins,eins@firma.example,Neu,true,2023-01-01,Hamburg
goes,Zwei,zwei@firma.example,Neu,true,2023-01-01,Hamburg
silent,Drei,drei@firma.example,Neu,true,2023-01-01,Hamburg
unreachable,Vier,,Neu,true,2023-01-01,Hamburg
"""


def begin(stack: Stack) -> str:
    port = free_port()
    url = f"http://127.0.0.1:{port}/pflege"
    stack.environment |= {"KP_LINK_KEYS": "0123456789abcdef" * 2, "KP_PUBLIC_URL": url, "KP_PUBLIC_PORT": str(port)}
    for name, content in (("setup.yaml", SETUP), ("people.csv", PEOPLE)):
        (stack.folder / name).write_text(content, encoding="utf-8")
    stack.cli("migrate")
    stack.cli("apply", str(stack.folder / "setup.yaml"))
    stack.cli("import", "applications", str(stack.folder / "people.csv"))
    return url


def run_night(stack: Stack, at: str) -> None:
    """The scheduler at this moment (embedded: everything), until the chores of the night are done."""
    stack.environment["KP_CLOCK_START"] = at
    stack.start("scheduler")
    told = f'"day": "{at[:10]}"'
    done = '"chore": "core data"'
    stack.wait_for(
        lambda: any(told in line and done in line for line in all_logs(stack).splitlines()), 90, "the night's chores"
    )
    assert set(stack.stop().values()) == {0}


def all_logs(stack: Stack) -> str:
    return "".join(path.read_text(errors="replace") for path in stack.folder.glob("*.log"))


def reduced(stack: Stack) -> dict[str, bool]:
    people = ("stays", "goes", "silent", "unreachable")
    shown = {one: stack.answer("person", "show", one)["applications"][0] for one in people}
    for one in shown.values():
        # Who is reduced was rejected, and is out of the pool.
        assert (one["reduced_at"] is not None) == (one["status"] == "Absage") == (not one["in_pool"])
    return {name: one["reduced_at"] is not None for name, one in shown.items()}


def answers(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = stack.answer("job", "show", JOB)["consent_answers"]
    return found


def test_s25_consent_is_renewed_withdrawn_or_lapses(stack: Stack, smtp: MailServer) -> None:
    url = begin(stack)
    stack.start()
    if not stack.embedded:
        stack.start("public")
    ran = stack.answer("job", "run", JOB, "--on", "2026-11-23", "--wait", "120")
    assert ran["states"] == {"sent": 3, "no_address": 1}
    stack.wait_for(lambda: stack.has_logged("public_listens"), 30, "the page's start")
    links = {str(mail["To"]).partition("@")[0]: links_of(mail) for mail in (parsed(o.content) for o in smtp.accepted)}
    assert set(links) == {"eins", "zwei", "drei"}
    own = {who: {kind: one_link(theirs, url, kind) for kind in ("stay", "delete")} for who, theirs in links.items()}
    assert len({link for theirs in own.values() for link in theirs.values()}) == 6

    with httpx.Client() as browser:
        before = at_rest(stack)
        for number, link in enumerate(sorted(set().union(*links.values()))):
            for method in ("HEAD", "GET"):
                came_from = {"X-Forwarded-For": f"192.0.2.{number}"}
                assert browser.request(method, link, headers=came_from).status_code == 200, link
        for forged in forgeries(own):
            assert browser.get(forged).status_code == 403, forged
            assert browser.post(forged, data={"answer": "delete"}).status_code == 403, forged
        assert changed(before, everything(stack)) == set()
        stack.cli("job", "set", JOB, "status=An")
        for _ in range(2):
            assert browser.post(own["eins"]["stay"], data={"answer": "stay"}).status_code == 200
            assert browser.post(own["zwei"]["delete"], data={"answer": "delete"}).status_code == 200
    assert answers(stack) == {"asked": 3, "stay": 1, "delete": 1, "silent": 1, "lapsed": 0, "void": 0,
                              "next_silence": "2026-12-24T00:00:00+01:00"}  # fmt: skip
    by_telephone(stack)
    assert set(stack.stop().values()) == {0}

    run_night(stack, "2026-11-24T02:30:00+01:00")
    assert not any(reduced(stack).values())
    run_night(stack, "2026-11-25T02:30:00+01:00")
    assert [name for name, is_so in reduced(stack).items() if is_so] == ["goes"]
    run_night(stack, "2026-12-23T02:30:00+01:00")
    assert [name for name, is_so in reduced(stack).items() if is_so] == ["goes"]
    run_night(stack, "2026-12-24T02:30:00+01:00")
    assert [name for name, is_so in reduced(stack).items() if is_so] == ["goes", "silent"]
    assert {name: answers(stack)[name] for name in ("stay", "delete", "silent", "lapsed")} == {
        "stay": 1,
        "delete": 1,
        "silent": 0,
        "lapsed": 1,
    }
    assert len(smtp.accepted) == 3
    assert not any(link.rpartition("/")[2] in all_logs(stack) for theirs in links.values() for link in theirs)


def by_telephone(stack: Stack) -> None:
    """Operators write down what they hear; the later answer counts, whoever wrote it down."""
    orders = {one["application"]: str(one["id"]) for one in stack.answer("order", "list", "--job", JOB)}
    assert "deletion on 2026-11-25" in stack.cli("order", "answer", orders["stays"], "delete").stdout
    assert "consent renewed" in stack.cli("order", "answer", orders["stays"], "stay").stdout
    refused = stack.cli("order", "answer", orders["silent"], "perhaps", check=False)
    assert refused.returncode == 1 and "one of stay, delete" in refused.stderr
    missing = stack.cli("order", "answer", "4711", "stay", check=False)
    assert missing.returncode == 1 and "4711" in missing.stderr


def one_link(links: set[str], url: str, kind: str) -> str:
    (found,) = [link for link in links if link.startswith(f"{url}/consent/{kind}/")]
    return found


def forgeries(own: dict[str, dict[str, str]]) -> list[str]:
    stay, delete = own["drei"]["stay"], own["drei"]["delete"]
    other = own["eins"]["delete"]
    return [
        stay.replace("/stay/", "/delete/"),
        delete.replace("/delete/", "/stay/"),
        delete.replace("/consent/delete/", "/p/"),
        delete[:-26] + other[-26:],
        delete[:-1],
        delete + "a",
    ]
