"""A running console, and a person in front of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request

from tests.mail_server import MailServer
from tests.stacks import Stack

ROLES = ("view", "operate", "edit", "admin")
PASSWORD = "ein langes Passwort"
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")


@dataclass
class Site:
    """The console's address, the installation behind it, the mail server beside it."""

    url: str
    stack: Stack
    mail: MailServer


@dataclass
class Visitor:
    """A browser of its own for one person; `page` is signed in, or not with role None."""

    browser: Browser
    site: Site
    role: str | None
    language: str
    width: int = 1280
    #: A host beside the console that may be asked: the company's sign-in service, in the tests that are about it.
    beside: str | None = None
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        locale = "de-DE" if self.language == "de" else "en-GB"
        viewport: Any = {"width": self.width, "height": 900}
        self._context = self.browser.new_context(locale=locale, viewport=viewport, base_url=self.site.url)
        self.page = self._context.new_page()
        self.page.on("console", self._noted)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.page.on("request", self._asked)
        if self.role is not None:
            sign_in(self.page, f"u.{self.role}")

    def _noted(self, message: ConsoleMessage) -> None:
        # An answer with an error status is for the test to expect.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        known = (self.site.url, "data:", "about:", "blob:", *([self.beside] if self.beside else []))
        if not request.url.startswith(known):
            self.complaints.append(f"asked another host: {request.url}")

    def leave(self) -> None:
        """Closes the browser; nothing may have been complained about (content security policy, scripts, hosts)."""
        self._context.close()
        assert self.complaints == []


def sign_in(page: Page, name: str) -> None:
    """By the form."""
    page.goto("/sign-in")
    page.fill("input[name=name]", name)
    page.fill("input[name=password]", PASSWORD)
    page.click("form[action$='/sign-in'] button")
    page.wait_for_selector("header.kp-top")


def barriers(page: Page) -> list[str]:
    """What axe finds serious or critical on a page. After a click, wait first for something of the page it opens."""
    # Not as a script element, which the page's policy forbids; and without reading style sheets and media once more,
    # for rules that are of moderate impact or off.
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
