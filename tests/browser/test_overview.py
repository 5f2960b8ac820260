"""Overview, monitor, settings, users, history."""

import re
from collections.abc import Callable

from playwright.sync_api import Browser, Page, expect

from tests.browser.site import PASSWORD, Site, Visitor, barriers, sign_in


def test_the_overview_tells_the_next_dispatches_and_who_is_alive(visit: Callable[..., Page], site: Site) -> None:
    site.stack.wait_for(lambda: "console" in site.stack.cli("queues").stdout, 20, "signs of life")
    page = visit("view")
    expect(page.locator(".kp-head")).to_contain_text("Heute: 0 gesendet")
    strip = page.locator(".kp-strip")
    assert strip.locator("h3").count() == 7
    expect(strip).to_contain_text("Geburtstagsgrüße")
    expect(page.locator(".kp-services")).to_contain_text("Zeitplanung läuft")
    assert page.get_by_text("In vier Schritten").count() == 0


def test_the_monitor_comes_anew_by_itself(visit: Callable[..., Page]) -> None:
    page = visit("view", "en")
    page.goto("/monitor")
    expect(page.locator("#figures")).to_contain_text("runs waiting for an evaluator")
    with page.expect_response(lambda answer: answer.url.endswith("/monitor/figures"), timeout=8000) as fresh:
        pass
    assert fresh.value.status == 200 and "<html" not in fresh.value.text()
    expect(page.locator("#figures h2").first).to_have_text("Write orders")


def test_settings_are_saved_or_refused_beside_the_field(visit: Callable[..., Page]) -> None:
    page = visit("admin")
    page.goto("/settings")
    page.fill("#f-time_zone", "Europa/Berlin")
    page.fill("#f-catch_up_hours", "99")
    page.fill("#f-company", "Muster & Söhne")
    page.get_by_role("button", name="Prüfen und speichern").click()
    expect(page.locator("#h-time_zone")).to_contain_text("ist keine Zeitzone")
    expect(page.locator("#h-catch_up_hours")).to_have_text("muss eine Zahl von 0 bis 48 sein")
    assert page.input_value("#f-company") == "Muster & Söhne"
    page.fill("#f-time_zone", "Europe/Vienna")
    page.fill("#f-catch_up_hours", "7,5")
    page.get_by_role("button", name="Prüfen und speichern").click()
    expect(page.locator("h1")).to_have_text("Die Einstellungen so speichern?")
    page.get_by_role("button", name="Ja, speichern").click()
    expect(page.get_by_role("status")).to_have_text("Die Einstellungen sind gespeichert.")
    assert page.input_value("#f-time_zone") == "Europe/Vienna"
    page.goto("/settings/history?noun=settings")
    expect(page.locator("tbody")).to_contain_text("geändert: Zeitzone")
    expect(page.locator("tbody")).to_contain_text("Europe/Vienna")
    page.goto("/settings")
    page.fill("#f-time_zone", "Europe/Berlin")
    page.get_by_role("button", name="Prüfen und speichern").click()
    page.get_by_role("button", name="Ja, speichern").click()
    expect(page.get_by_role("status")).to_have_text("Die Einstellungen sind gespeichert.")


def test_a_setting_that_touches_letters_says_so_before_it_is_saved(visit: Callable[..., Page], site: Site) -> None:
    page = visit("admin")
    planned = _planned(site)
    assert planned > 100
    page.goto("/settings")
    page.fill("#f-frequency_cap_days", "60")
    page.get_by_role("button", name="Prüfen und speichern").click()
    told = page.locator("main")
    shown = f"{planned:,}".replace(",", ".")
    expect(told).to_contain_text(f"Die Pläne mit ihren {shown} Schreiben werden sofort neu abgeglichen")
    expect(told).to_contain_text("Endgültige Absage Pool · Nächster Versand")
    expect(page.locator(".kp-figure").first).to_have_text(re.compile(r"^\+0 / −[1-9]\d*$"))
    expect(page.locator("tbody tr")).to_contain_text(["060"])
    assert barriers(page) == []
    page.get_by_role("button", name="Zurück zum Formular").click()
    expect(page.locator("#f-frequency_cap_days")).to_have_value("60")
    # Looked at, not saved: nothing has changed.
    assert _planned(site) == planned
    page.goto("/settings")
    expect(page.locator("#f-frequency_cap_days")).to_have_value("0")
    page.select_option("#f-leap_day_birthday", "february_28")
    page.get_by_role("button", name="Prüfen und speichern").click()
    expect(told).to_contain_text("Die Empfänger des nächsten Versands bleiben, wie sie sind.")
    expect(told).to_contain_text("Was noch nicht geplant ist, richtet sich ab seiner Planung danach.")
    page.goto("/settings")
    page.check("input[name=duplicate_keys][value=email]")
    page.select_option("#f-reduce_core_data", "after_months")
    page.fill("#f-after_months", "6")
    page.get_by_role("button", name="Prüfen und speichern").click()
    expect(told).to_contain_text("Wer eine Person ist, wird in der kommenden Nacht neu bestimmt")
    expect(told).to_contain_text("einige Monate nach der Absage (6)")
    assert barriers(page) == []


def test_settings_that_somebody_else_changed_are_not_taken_back(visit: Callable[..., Page], site: Site) -> None:
    page = visit("admin")
    page.goto("/settings")
    page.fill("#f-catch_up_hours", "5")
    page.get_by_role("button", name="Prüfen und speichern").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    setup = site.stack.folder / "meanwhile.yaml"
    setup.write_text("settings: {sync_minutes: 7}\n", encoding="utf-8")
    site.stack.cli("apply", str(setup))
    page.get_by_role("button", name="Ja, speichern").click()
    # The form would take it back: nothing is saved, and the form shows what is there now.
    expect(page.locator("main").get_by_role("alert")).to_contain_text("jemand anders die Einstellungen geändert")
    expect(page.locator("#f-sync_minutes")).to_have_value("7")
    expect(page.locator("#f-catch_up_hours")).not_to_have_value("5")
    assert barriers(page) == []
    page.fill("#f-catch_up_hours", "5")
    page.get_by_role("button", name="Prüfen und speichern").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Ja, speichern").click()
    expect(page.get_by_role("status")).to_have_text("Die Einstellungen sind gespeichert.")
    expect(page.locator("#f-sync_minutes")).to_have_value("7")
    expect(page.locator("#f-catch_up_hours")).to_have_value("5")


def _planned(site: Site) -> int:
    return len(site.stack.answer("order", "list", "--state", "planned"))


def test_a_user_is_created_and_another_role_ends_the_sessions(
    visit: Callable[..., Page], browser: Browser, site: Site
) -> None:
    page = visit("admin")
    page.goto("/settings/users/new")
    page.fill("#f-name", "n.neu")
    page.fill("#f-display_name", "Nina Neu")
    page.fill("#f-email", "n.neu@firma.example")
    page.fill("#f-password", PASSWORD)
    page.get_by_role("button", name="Benutzer anlegen").click()
    expect(page.get_by_role("status")).to_have_text("n.neu ist angelegt und kann sich anmelden.")
    newcomer = Visitor(browser, site, None, "de")
    sign_in(newcomer.page, "n.neu")
    assert newcomer.page.goto("/settings/users/new").status == 403  # type: ignore[union-attr]
    page.get_by_role("link", name="n.neu").click()
    page.select_option("#f-role", "operate")
    assert barriers(page) == []
    page.get_by_role("button", name="Speichern").click()
    newcomer.page.goto("/")
    assert "/sign-in" in newcomer.page.url
    sign_in(newcomer.page, "n.neu")
    page.get_by_role("link", name="n.neu").click()
    page.get_by_role("button", name="Diesen Benutzer sperren").click()
    expect(page.get_by_role("status")).to_have_text("n.neu ist gesperrt; alle Sitzungen sind beendet.")
    expect(page.locator("tr", has_text="n.neu")).to_contain_text("gesperrt")
    newcomer.page.goto("/")
    assert "/sign-in" in newcomer.page.url
    newcomer.leave()
    page.get_by_role("link", name="n.neu").click()
    expect(page.locator("main")).to_contain_text("Gesperrt seit")
    assert barriers(page) == []
    page.get_by_role("button", name="Entsperren").click()
    expect(page.get_by_role("status")).to_have_text("n.neu kann sich wieder anmelden.")


def test_an_empty_installation_teaches_the_next_step(browser: Browser, empty_site: Site) -> None:
    visitor = Visitor(browser, empty_site, "admin", "de")
    expect(visitor.page.locator("#steps")).to_have_text("In vier Schritten zum ersten Schreiben")
    assert visitor.page.locator("a.btn-primary").inner_text() == "Bewerbungen importieren"
    assert barriers(visitor.page) == []
    visitor.leave()
