"""The evidence file, asked for at the console by an administrator."""

import zipfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.site import Site, barriers


def test_s28_an_administrator_makes_the_file(visit: Callable[..., Page], site: Site, tmp_path: Path) -> None:
    page = visit("admin")
    page.goto("/applications/1")
    assert barriers(page) == []
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Auskunftsdatei erstellen").click()
    waiting.value.save_as(tmp_path / "a.zip")
    assert waiting.value.suggested_filename == "Auskunft-1.zip"
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        assert file.testzip() is None and {"README.txt", "index.html", "letters.jsonl"} <= set(file.namelist())
    page.goto("/settings/history?noun=person")
    expect(page.locator("main tbody")).to_contain_text("Auskunftsdatei erstellt")
    guest = visit("edit")
    guest.goto("/applications/1")
    expect(guest.get_by_role("button", name="Auskunftsdatei erstellen")).to_have_count(0)
