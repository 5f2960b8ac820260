"""`make demo` as a newcomer meets it: the address and login that it prints, and the mails that it caught."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.browser.site import barriers

_WHERE = re.compile(r"The console: (?P<url>http://\S+)  user (?P<user>\S+), password (?P<password>\S+)")
#: Three scenarios, a thousand letters; on a busy machine that takes a while.
SECONDS = 240.0


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[re.Match[str]]:
    """The demo, running; what it says about its console."""
    folder = tmp_path_factory.mktemp("demo")
    log = folder / "printed"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("KP_")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "services", "demo", "--state", str(folder / "state")],
            env=environment | {"PYTHONUNBUFFERED": "1"},
            stdout=out,
            stderr=out,
        )
    try:
        yield _said(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()[-2000:]


def _said(process: "subprocess.Popen[bytes]", log: Path) -> re.Match[str]:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := _WHERE.search(log.read_text()):
            return found
        time.sleep(0.2)
    raise AssertionError(f"the demo named no console:\n{log.read_text()[-2000:]}")


@pytest.fixture
def page(browser: Browser, printed: re.Match[str]) -> Iterator[Page]:
    """Signed in as the demo says; nothing may be complained about (content security policy, scripts)."""
    complaints: list[str] = []

    def noted(message: ConsoleMessage) -> None:
        # An answer with an error status is for the test to expect.
        if message.type == "error" and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    context = browser.new_context(locale="de-DE", base_url=printed["url"])
    page = context.new_page()
    page.on("console", noted)
    page.goto("/sign-in")
    page.fill("input[name=name]", printed["user"])
    page.fill("input[name=password]", printed["password"])
    page.click("form[action$='/sign-in'] button")
    page.wait_for_selector("header.kp-top")
    yield page
    context.close()
    assert complaints == []


@pytest.mark.timeout(480)
def test_the_mails_that_the_demo_caught_are_read_in_the_console(page: Page) -> None:
    page.get_by_role("link", name="Abgefangene Mails").click()
    expect(page.locator("h1")).to_have_text("Abgefangene Mails")
    expect(page.locator("main")).to_contain_text(re.compile(r"Die neuesten 200 von \d+ Mails"))
    expect(page.locator("tbody tr")).to_have_count(200)
    assert barriers(page) == []
    first = page.locator("tbody tr").first
    subject, to = first.locator("td").all_inner_texts()
    first.get_by_role("link").click()
    expect(page.locator("h1")).to_have_text(subject)
    facts = page.locator("dl.kp-facts")
    expect(facts).to_contain_text(to)
    expect(facts).to_contain_text("Message-ID")
    # The formatted part is shut in a frame of its own, and shows.
    expect(page.frame_locator("iframe.kp-letter").locator("body")).to_contain_text(re.compile(r"\w+"))
    assert page.locator("iframe.kp-letter").get_attribute("sandbox") == ""
    expect(page.locator(".kp-plain")).to_contain_text(re.compile(r"\w+"))
    assert barriers(page) == []
    page.get_by_role("link", name="Alle abgefangenen Mails").click()
    expect(page.locator("tbody tr").first).to_contain_text(subject)


def test_a_caught_mail_is_that_of_a_letter_that_the_console_calls_sent(page: Page) -> None:
    page.goto("/mails/0")
    to = page.locator("dl.kp-facts dt", has_text=re.compile("^To$")).locator("xpath=following-sibling::dd[1]")
    address = to.inner_text().rpartition("<")[2].strip("> ")
    page.goto(f"/search?q={address}")
    if "/applications?" in page.url:
        # A person with several applications: the letter stands in the record of each.
        page.locator("tbody tr a").first.click()
    page.wait_for_url(re.compile(r"/applications/\d+$"))
    expect(page.locator("main")).to_contain_text(address)
    expect(page.locator("main")).to_contain_text("gesendet")
    assert page.goto("/mails/99999").status == 404  # type: ignore[union-attr]
    expect(page.locator("h1")).to_have_text("Das hat nicht geklappt")
