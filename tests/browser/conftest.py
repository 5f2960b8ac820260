"""The console in Debian's Chromium: a real process, a real database, nothing stubbed."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.site import PASSWORD, ROLES, Site, Visitor
from tests.mail_server import MailServer
from tests.servers.processes import free_port
from tests.servers.programs import program
from tests.servers.state import ServersImpossible
from tests.stacks import Stack


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of a module only: while it is open this thread has a running event loop, and other tests start one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


def _chromium() -> str:
    # The same pages without a window's machinery, for a third of the processor's time. Any Chromium will do.
    try:
        return program("chromium-headless-shell")
    except ServersImpossible:
        return program("chromium")


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the sample and a user of each role, to be copied."""
    folder = tmp_path_factory.mktemp("sample")
    stack = _stack(folder, "smtp://127.0.0.1:9")
    stack.load_sample()
    _add_users(stack)
    return folder


@pytest.fixture(scope="session")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a schema and an administrator, nothing else."""
    folder = tmp_path_factory.mktemp("empty")
    stack = _stack(folder, "smtp://127.0.0.1:9")
    stack.cli("migrate")
    _add_users(stack, ("admin",))
    return folder


@pytest.fixture(scope="module")
def site(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """All services in one process with the sample, for the tests of a module one after another."""
    yield from running_site(sample_folder, tmp_path_factory.mktemp("site"))


@pytest.fixture
def empty_site(empty_folder: Path, tmp_path: Path) -> Iterator[Site]:
    """All services in one process, nothing in the database but an administrator."""
    yield from running_site(empty_folder, tmp_path)


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """`visit("edit", "de")`: a page of a signed-in person; what the browser complains about fails the test."""
    visitors: list[Visitor] = []

    def come(role: str | None = "admin", language: str = "de", width: int = 1280) -> Page:
        visitors.append(Visitor(browser, site, role, language, width))
        return visitors[-1].page

    yield come
    for visitor in visitors:
        visitor.leave()


def _stack(folder: Path, smtp_url: str) -> Stack:
    return Stack(folder, f"sqlite:///{folder / 'k.sqlite3'}", "memory://", smtp_url)


def _add_users(stack: Stack, roles: tuple[str, ...] = ROLES) -> None:
    file = stack.folder / "password"
    file.write_text(PASSWORD)
    for role in roles:
        stack.cli("user", "create", f"u.{role}", "--display-name", f"Person {role}", "--role", role)
        with file.open() as given:
            stack.cli("user", "password", f"u.{role}", "--stdin", stdin=given)


def running_site(
    prepared: Path, folder: Path, settings_of: Callable[[str], dict[str, str]] = lambda url: {}
) -> Iterator[Site]:
    """All services over a copy of a database; `settings_of`: more settings, made from the console's address."""
    shutil.copy(prepared / "k.sqlite3", folder / "k.sqlite3")
    port = free_port()
    with MailServer(folder / "ledger.jsonl") as mail:
        stack = _stack(folder, mail.oracle.url)
        url = f"http://127.0.0.1:{port}"
        stack.start("all", KP_CONSOLE_PORT=str(port), **settings_of(url))
        try:
            stack.wait_for(lambda: stack.has_logged("console_listens"), 30, "the console's start")
            yield Site(url, stack, mail)
        finally:
            assert set(stack.stop().values()) <= {0}, stack.logs()
            stack.close()
