"""What is typed into an address or a form, or comes from an old page, is answered; it never breaks a page."""

import re
from collections.abc import Iterator

import httpx
import pytest

from services.console.pages import PAGES
from tests.browser.site import PASSWORD, Site

#: Beyond every id, day and number; what only looks like a digit; what no text can hold; long.
VALUES = ("99999999999999999999", "²", "nan", "1e999", "\x00", "9999-12-31", "0001-01-01", "x" * 1000)
#: Keys of a page: an id beyond all ids, a text, none, of another length; of two values that are no day and id.
KEYS = (
    "WyJ4IiwxXQ",
    "WzEyLDNd",
    "WzFlOTk5XQ",
    "WyJ4Il0",
    "bnVsbA",
    "WzFd",
    "WzEsMiwzXQ",
    "²",
    "Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OV0",
)
#: Every name that an address of the console asks for.
ASKED = (
    *("application", "day", "id", "job", "noun", "on", "order", "page", "part", "print", "q"),
    *("recruiter", "state", "to", "type", "undo", "who"),
)
#: Endings of addresses that make a file or try a dispatch.
COSTLY = (".xlsx", "/excel", "/result", "/run")
#: Fields of forms that are numbers, ids, days or moments.
FIELDS = (
    *("after", "at", "day", "every_months", "first_on", "id", "lead_days", "letter", "order", "on", "priority"),
    *("query", "repeat_guard_days", "frequency_cap_days", "catch_up_hours", "sync_minutes", "time", "until"),
    *("valid_days", "version", "seal", "epoch", "reason", "scope", "name", "display_name", "email", "role", "subject"),
    *("was_display_name", "was_email", "was_role", "step", "decision", "lock", "password"),
)


@pytest.fixture(scope="module")
def person(site: Site) -> Iterator[httpx.Client]:
    """An administrator, whose every form is taken for what it says."""
    with httpx.Client(base_url=site.url, timeout=60) as client:
        assert client.post("/sign-in", data={"name": "u.admin", "password": PASSWORD}).status_code == 303
        token = re.search(r'X-CSRF-Token": "([^"]+)', client.get("/profile").text)
        assert token is not None
        client.headers["X-CSRF-Token"] = token[1]
        yield client


def filled(path: str, value: str) -> str:
    return re.sub(r"\{\w+(?::int)?\}", value, path)


@pytest.mark.parametrize("path", sorted({page.path for page in PAGES if "GET" in page.methods}))
def test_no_address_is_broken_by_what_stands_in_it(person: httpx.Client, path: str) -> None:
    if "{" in path:
        for value in ("99999999999999999999", "9223372036854775808", "0"):
            answer = person.get(filled(path, value))
            assert answer.status_code < 500, (path, value, answer.text[-400:])
    here = filled(path, "1")
    # All at once, and what one page refuses first alone where others read it.
    questions = [dict.fromkeys(ASKED, value) for value in VALUES]
    questions += [{"after": key} for key in KEYS] + [{"type": f"job-{VALUES[0]}"}, {"type": "job-²"}]
    if path.endswith(COSTLY):
        # Each answer is a whole file or a whole calculation, and hardly reads what stands in its address.
        questions = questions[:: len(VALUES) // 2]
    for asked in questions:
        answer = person.get(here, params=asked)
        assert answer.status_code < 500, (here, asked, answer.text[-400:])


CHANGES = sorted({page.path for page in PAGES if "POST" in page.methods and not page.path.startswith("/sign-")})


@pytest.mark.parametrize("path", CHANGES)
def test_no_form_breaks_its_page(person: httpx.Client, path: str) -> None:
    # Of a record that is not there: nothing is changed by what happens to be valid.
    here = filled(path, "987654321")
    for value in VALUES:
        form = dict.fromkeys(FIELDS, value)
        answer = person.post(here, data=form)
        assert answer.status_code < 500, (here, value, answer.text[-400:])
        assert answer.status_code != 403, (here, "the form was not looked at")


def test_no_form_of_a_record_that_is_there_breaks_its_page(person: httpx.Client) -> None:
    # Last of this module: what happens to be valid may change the records.
    looked_at = set()
    for path in CHANGES:
        for value in VALUES if "{" in path else ():
            here = filled(path, "1")
            answer = person.post(here, data=dict.fromkeys(FIELDS, value))
            assert answer.status_code < 500, (here, value, answer.text[-400:])
            if answer.status_code != 404:
                looked_at.add(path)
    assert len(looked_at) > 20


def test_a_users_form_that_is_refused_comes_back_with_what_was_typed(person: httpx.Client) -> None:
    shown = person.get("/settings/users/2").text
    was = {f"was_{name}": value for name, value in re.findall(r'name="was_(\w+)" value="([^"]*)"', shown)}
    form = {**was, "display_name": "Neuer Name", "email": "a@b", "role": was["was_role"]}
    answer = person.post("/settings/users/2", data=form)
    assert answer.status_code == 422 and 'value="Neuer Name"' in answer.text and 'value="a@b"' in answer.text


def test_an_error_page_is_kept_by_no_cache(person: httpx.Client) -> None:
    assert person.get("/static/app.css").headers["cache-control"] == "public, max-age=3600"
    answer = person.get("/static/nowhere.css")
    assert answer.status_code == 404 and answer.headers["cache-control"] == "no-store"
