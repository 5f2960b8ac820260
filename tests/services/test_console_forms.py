"""No change without the session's own form: every address that takes one, asked by others (S18)."""

import re
from typing import Any

import pytest

from services.console.pages import PAGES
from tests.services.test_console_behind_proxy import PASSWORD, browser

BASE = "http://firma.example"
CHANGES = sorted({page.path for page in PAGES if "POST" in page.methods and page.right != "nobody"})
#: How another site's page, or somebody without the page, would send a form of a person who is signed in.
FOREIGN: dict[str, dict[str, str]] = {
    "no token": {},
    "a wrong token": {"X-CSRF-Token": "wrong"},
    "an empty token": {"X-CSRF-Token": ""},
    "another origin": {"Origin": "https://evil.example", "X-CSRF-Token": "TOKEN"},
    "a name that begins alike": {"Origin": f"{BASE}.evil.example", "X-CSRF-Token": "TOKEN"},
    "another site": {"Sec-Fetch-Site": "cross-site", "X-CSRF-Token": "TOKEN"},
    "a sibling of this site": {"Sec-Fetch-Site": "same-site", "X-CSRF-Token": "TOKEN"},
}


def filled(path: str) -> str:
    return re.sub(r"\{\w+(?::int)?\}", "1", path)


@pytest.mark.parametrize("how", FOREIGN)
async def test_s18_every_change_is_refused_to_a_form_from_elsewhere(tmp_path: Any, how: str) -> None:
    async with browser(tmp_path, None, BASE) as one:
        assert (await one.post("/sign-in", data={"name": "anna", "password": PASSWORD})).status_code == 303
        token = re.search(r'X-CSRF-Token": "([^"]+)', (await one.get("/profile")).text)
        assert token is not None and len(CHANGES) > 30
        headers = {name: value.replace("TOKEN", token[1]) for name, value in FOREIGN[how].items()}
        for path in CHANGES:
            answer = await one.post(filled(path), data={"name": "x"}, headers=headers)
            assert answer.status_code == 403, (path, answer.status_code)
        assert (await one.get("/profile")).status_code == 200, "still signed in"
        own = await one.post("/sign-out", headers={"X-CSRF-Token": token[1], "Origin": BASE})
        assert own.status_code == 303 and (await one.get("/profile")).status_code == 303


async def test_s18_signing_in_is_refused_to_another_site_too(tmp_path: Any) -> None:
    async with browser(tmp_path, None, BASE) as one:
        form = {"name": "anna", "password": PASSWORD}
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert (await one.post("/sign-in", data=form, headers=headers)).status_code == 403


async def test_s18_no_change_is_made_by_looking(tmp_path: Any) -> None:
    async with browser(tmp_path, None, BASE) as one:
        await one.post("/sign-in", data={"name": "anna", "password": PASSWORD})
        read_too = {page.path for page in PAGES if "GET" in page.methods}
        for path in set(CHANGES) - read_too:
            assert (await one.get(filled(path))).status_code in (404, 405), path
