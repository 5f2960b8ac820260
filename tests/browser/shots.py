"""`python -m tests.browser.shots FOLDER`: pictures of the main pages, German, from the sample, for README and docs.

Date fields are the browser's own, so Debian's package chromium-l10n is installed too.
"""

import os
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser.site import PASSWORD, sign_in
from tests.mail_server import MailServer
from tests.servers.processes import free_port
from tests.servers.programs import install, program
from tests.stacks import Stack

#: Name of the picture, and the address; `{job}` and the like: the first link on the list of it.
PICTURES = (
    ("overview", "/", None),
    ("jobs", "/jobs", None),
    ("job", "/jobs", "main tbody a[href^='/jobs/']"),
    ("workcenter", "/workcenter", None),
    ("letters", "/letters", "main tbody a[href^='/letters/']"),
    ("application", "/applications", "main tbody a[href^='/applications/']"),
)
USER = "anna"


def main() -> int:
    """Takes the pictures; a page that is missing ends it with its name."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    speak_german()
    with tempfile.TemporaryDirectory() as work, MailServer(Path(work) / "ledger.jsonl") as mail:
        stack = Stack(Path(work), f"sqlite:///{work}/k.sqlite3", "memory://", mail.oracle.url)
        try:
            stack.load_sample()
            _take(_start(stack), folder)
        finally:
            stack.stop()
            stack.close()
    return 0


def speak_german() -> None:
    """Debian's Chromium shows dates in English only, until its languages are installed."""
    browser = Path(program("chromium")).resolve()
    if browser.is_relative_to("/usr") and not Path("/usr/lib/chromium/locales/de.pak").exists():
        install("the German Chromium", "chromium-l10n")


def _start(stack: Stack) -> str:
    file = stack.folder / "password"
    file.write_text(PASSWORD)
    stack.cli("user", "create", f"u.{USER}", "--display-name", "Anna Weber", "--role", "admin")
    with file.open() as given:
        stack.cli("user", "password", f"u.{USER}", "--stdin", stdin=given)
    port = free_port()
    stack.start("all", KP_CONSOLE_PORT=str(port))
    stack.wait_for(lambda: stack.has_logged("console_listens"), 30, "the console's start")
    for job in ("Geburtstagsgrüße", "Endgültige Absage Pool"):
        stack.cli("job", "run", job, "--on", "2026-11-23")
    stack.wait_for(lambda: '"sent"' in stack.cli("order", "list", "--json", "--state", "sent").stdout, 60, "letters")
    return f"http://127.0.0.1:{port}"


def _take(url: str, folder: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program("chromium"),
            args=["--no-sandbox", "--lang=de"],
            env={**os.environ, "LANGUAGE": "de"},
        )
        size = {"width": 1360, "height": 850}
        context = browser.new_context(locale="de-DE", viewport=size, base_url=url)  # type: ignore[arg-type]
        page = context.new_page()
        sign_in(page, f"u.{USER}")
        for name, path, link in PICTURES:
            _open(page, path)
            if link is not None:
                target = page.locator(link).first.get_attribute("href", timeout=5000)
                _open(page, str(target))
            # What the page loads after itself.
            page.wait_for_load_state("networkidle")
            page.screenshot(path=folder / f"{name}.png")
            print(folder / f"{name}.png")
        browser.close()


def _open(page: Page, path: str) -> None:
    answer = page.goto(path)
    if answer is None or answer.status != 200:
        raise SystemExit(f"{path}: {answer.status if answer else 'no answer'}; no picture of it")


if __name__ == "__main__":
    sys.exit(main())
