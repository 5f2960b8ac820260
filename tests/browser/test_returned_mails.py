"""Addresses that letters come back from: seen in the list and on the record, and used again when somebody knows."""

import sqlite3
from collections.abc import Callable
from contextlib import closing

from playwright.sync_api import Page, expect
from python_calamine import CalamineWorkbook

from tests.browser.site import Site, barriers
from tests.browser.test_applications import ID, open_record

GIVEN_UP = (
    "UPDATE applications SET returned_email = usable_email, usable_email = NULL,"
    " returned_at = 1795000000000000 WHERE external_id = ?"
)


def test_an_address_that_letters_come_back_from(visit: Callable[..., Page], site: Site) -> None:
    with closing(sqlite3.connect(site.stack.folder / "k.sqlite3", timeout=30)) as connection, connection:
        assert connection.execute(GIVEN_UP, (ID,)).rowcount == 1
    page = visit("operate", "de")
    page.goto("/applications")
    page.get_by_label("nur solche, deren Briefe zurückkommen").check()
    page.press("#a-q", "Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text(ID)
    answer = page.request.get(page.get_by_role("link", name="Excel (Suchergebnis)").get_attribute("href") or "")
    (site.stack.folder / "list.xlsx").write_bytes(answer.body())
    sheet = CalamineWorkbook.from_path(site.stack.folder / "list.xlsx").get_sheet_by_index(0).to_python()
    assert len(sheet) == 2
    assert barriers(page) == []
    open_record(page)
    expect(page.get_by_text("kommen seit")).to_be_visible()
    assert barriers(page) == []
    page.get_by_role("button", name="Die Adresse funktioniert wieder").click()
    expect(page.get_by_text("kommen seit")).to_have_count(0)
    expect(page.locator(".kp-timeline")).to_contain_text("E-Mail-Adresse wird wieder benutzt")
    page.goto("/applications?returned=1&q=" + ID)
    expect(page.locator("tbody tr")).to_have_count(0)
