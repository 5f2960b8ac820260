"""Every address of the console, asked by nobody and by each role: the right it is listed with is the one that holds."""

import re
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import Page

from services.console.pages import PAGES
from services.console.routing import Page as Address
from tests.browser.site import PASSWORD, ROLES, Site, barriers

#: For what is no id.
_VALUES = {"noun": "job", "what": "jobs", "name": "x", "path": "x", "tab": "runs"}


def filled(path: str) -> str:
    """The address with a value in each place; 1 is the id of a record of the sample."""
    return re.sub(r"\{(\w+)(?::(\w+))?\}", lambda found: "1" if found[2] == "int" else _VALUES.get(found[1], "1"), path)


def moments() -> Iterator[tuple[str, Address]]:
    for address in PAGES:
        for method in address.methods:
            yield method, address


@pytest.fixture(scope="module")
def people(site: Site) -> Iterator[dict[str, httpx.Client]]:
    """A signed-in client for each role, and one for nobody."""
    clients = {role: httpx.Client(base_url=site.url, timeout=30) for role in ("nobody", *ROLES)}
    for role in ROLES:
        answer = clients[role].post("/sign-in", data={"name": f"u.{role}", "password": PASSWORD})
        assert answer.status_code == 303, answer.text
    yield clients
    for client in clients.values():
        client.close()


def test_every_address_is_listed_once() -> None:
    count = Counter((method, address.path) for method, address in moments())
    assert [one for one, times in count.items() if times > 1] == []
    assert all(set(address.methods) <= {"GET", "POST"} for address in PAGES)


def test_s23_nobody_gets_in_but_to_sign_in(people: dict[str, httpx.Client]) -> None:
    nobody = people["nobody"]
    for method, address in moments():
        answer = nobody.request(method, filled(address.path))
        if address.right != "nobody":
            assert answer.status_code == 303, (method, address.path, answer.status_code)
            assert answer.headers["location"].startswith("/sign-in"), (method, address.path)
            assert answer.text == "", (method, address.path)
    assert nobody.get("/static/app.css").status_code == 200
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/docs", "/openapi.json", "/metrics"):
        assert nobody.get(path).status_code == 404, path


@pytest.mark.parametrize("role", ROLES)
def test_s18_s23_a_role_is_refused_exactly_what_is_beyond_it(role: str, people: dict[str, httpx.Client]) -> None:
    for method, address in moments():
        if address.path.startswith(("/sign-", "/language")):
            continue
        # Every POST goes without the session's token: within one's right it is refused for that, and changes nothing.
        answer = people[role].request(method, filled(address.path))
        beyond = address.right != "nobody" and ROLES.index(address.right) > ROLES.index(role)
        where = (role, method, address.path, answer.status_code)
        assert answer.status_code < 500, where
        if beyond or method == "POST":
            assert answer.status_code == 403, where
            assert ("hat das Recht" in answer.text) == beyond, where
        else:
            assert answer.status_code != 403, where


def test_s35_what_is_answered_carries_the_safety_headers(people: dict[str, httpx.Client]) -> None:
    for path in ("/", "/sign-in", "/static/app.css", "/nowhere"):
        headers = people["admin"].get(path).headers
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy and "form-action 'self'" in policy
        assert headers["x-frame-options"] == "DENY" and headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == ("public, max-age=3600" if path == "/static/app.css" else "no-store"), path
        assert "default-src 'self'" in headers["content-security-policy"], path
        assert "unsafe-inline" not in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff" and "server-timing" in headers, path


def offered(text: str) -> Iterator[tuple[str, str]]:
    """Method and address of everything on a page that can be clicked, sent or is fetched."""
    for tag in re.findall(r"<(?:a|form|button|input|span|div|select|tr)\b[^>]*>", text):
        given = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        for name, method in (("href", "GET"), ("hx-get", "GET"), ("hx-post", "POST"), ("formaction", "POST")):
            if name in given:
                yield method, given[name]
        if tag.startswith("<form") and "action" in given:
            yield given.get("method", "get").upper(), given["action"]


def right_of(method: str, path: str) -> str:
    """The right that an address needs; `nobody` for none of the console's."""
    for address in PAGES:
        pattern = re.sub(r"\{\w+\}", "[^/]+", re.sub(r"\{\w+:int\}", "[0-9]+", address.path))
        if method in address.methods and re.fullmatch(pattern, path):
            return address.right
    return "nobody"


#: A change that each role is offered, and no role before it.
OWN = {"view": "/sign-out", "operate": "/jobs/1/off", "edit": "/letters/new", "admin": "/settings/users/new"}


@pytest.mark.parametrize("role", ROLES)
def test_d5_what_a_role_may_not_do_is_not_offered_to_it(role: str, people: dict[str, httpx.Client]) -> None:
    beyond, seen = [], set()
    for address in (one for method, one in moments() if method == "GET"):
        answer = people[role].get(filled(address.path))
        if answer.status_code != 200 or "html" not in answer.headers["content-type"]:
            continue
        for how, url in offered(answer.text):
            path = re.split("[?#]", url)[0]
            if (right := right_of(how, path)) != "nobody":
                seen.add((how, path))
                if ROLES.index(right) > ROLES.index(role):
                    beyond.append((address.path, how, path, right))
    assert beyond == []
    changes = {path for how, path in seen if how == "POST"}
    expected = {ROLES.index(one) <= ROLES.index(role) for one in ROLES if OWN[one] in changes}
    assert len(seen) > 20 and OWN[role] in changes and expected == {True}


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("width", "language"), [(1280, "en"), (360, "de")])
def test_no_page_has_a_serious_barrier_and_each_fits_a_telephone(
    visit: Callable[..., Page], width: int, language: str
) -> None:
    page = visit("admin", language, width)
    found: dict[str, list[str]] = {}
    refused: set[str] = set()
    for method, address in moments():
        # What is a file, and what htmx puts into a page that is looked at.
        if method != "GET" or page.request.get(filled(address.path)).headers.get("content-disposition"):
            continue
        answer = page.goto(filled(address.path))
        assert answer is not None
        if "<html" in answer.text():
            found[address.path] = barriers(page)
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found[address.path].append(f"wider than {width}")
            if not answer.ok:
                refused.add(address.path)
    assert len(found) > 30
    # Whoever looks there without company accounts, without a catcher of mails, or for an order of another job.
    company = {"/sign-in/company", "/sign-in/company/answer"}
    caught = {"/mails", "/mails/{number:int}", "/mails/{number:int}/html"}
    assert refused == {*company, *caught, "/jobs/{id:int}/why/{order:int}"}
    assert {path: told for path, told in found.items() if told} == {}


@pytest.mark.parametrize("role", ["nobody", "admin"])
def test_what_is_too_large_is_refused_before_it_fills_the_disk(role: str, people: dict[str, httpx.Client]) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(64):
            yield b"0" * 1024 * 1024

    # By pieces, without a length that could be looked at.
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        status = people[role].post("/sign-in", content=endless(), headers=headers).status_code
    except (httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
        status = 413  # the server has closed the door while we were still pushing
    assert status == 413
    assert people[role].get("/sign-in").status_code == 200
