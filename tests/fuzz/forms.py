"""The forms and links of the console's pages, as a browser would find them."""

import re
from collections.abc import Iterable
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlsplit

import httpx

from services.console.pages import PAGES

Pairs = list[tuple[str, str]]
#: (method, path, values): what pressing a button or following a link asks for.
Asked = tuple[str, str, Pairs]

#: Endings of addresses that make a file or try a dispatch, and offer nothing.
_COSTLY = (".xlsx", "/excel", "/result")


class _Reader(HTMLParser):
    """Collects them from one page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Asked] = []
        self._form: Pairs | None = None
        self._select, self._area = "", ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        for method in ("post", "get"):
            if target := given.get(f"hx-{method}"):
                self._add(method.upper(), target)
        if tag == "a":
            self._add("GET", given.get("href", ""))
        elif tag == "form":
            self._form = self._add(given.get("method", "get").upper(), given.get("action", ""))
        elif tag in ("input", "button"):
            self._value(given.get("name", ""), given.get("value", ""))
        elif tag == "select":
            self._select = given.get("name", "")
        elif tag == "option" and "selected" in given:
            self._value(self._select, given.get("value", ""))
        elif tag == "textarea":
            self._area = given.get("name", "")

    def handle_data(self, data: str) -> None:
        if self._area:
            self._value(self._area, data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "textarea":
            self._area = ""

    def _add(self, method: str, target: str) -> Pairs:
        parts = urlsplit(target)
        values = parse_qsl(parts.query, keep_blank_values=True)
        if target.startswith("/"):
            self.found.append((method, parts.path, values))
        return values

    def _value(self, name: str, value: str) -> None:
        if name and self._form is not None:
            self._form.append((name, value))


def in_page(html: str) -> list[Asked]:
    """What one page offers."""
    reader = _Reader()
    reader.feed(html)
    return reader.found


async def in_console(browser: httpx.AsyncClient, ids: Iterable[int]) -> list[Asked]:
    """What all pages offer, of records with these ids; each once."""
    found: dict[str, Asked] = {}
    for page in PAGES:
        if "GET" not in page.methods:
            continue
        for number in ids if "{" in page.path else (1,):
            here = re.sub(r"\{\w+:int\}", str(number), page.path)
            found[here] = ("GET", here, [])
            if page.path.endswith(_COSTLY):
                continue
            answer = await browser.get(here)
            if answer.status_code == 200 and answer.headers["content-type"].startswith("text/html"):
                found |= {repr(one): one for one in in_page(answer.text)}
    return list(found.values())
