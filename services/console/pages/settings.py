"""The system's settings, the statuses, and the release of a hold."""

import math
from typing import Any

from sqlalchemy import select
from starlette.responses import Response

from services.console.downloads import download
from services.console.pages.history import FIELDS
from services.console.pages.jobs import impact_values
from services.console.pages.plan_words import settings_sentences
from services.console.pages.query_sentences import shown
from services.console.routing import Page
from services.console.visits import Visit
from shared.db.core_data import ERASED
from shared.db.history import Change
from shared.db.holds import load_hold, release_hold
from shared.db.impact import Impact
from shared.db.named_records import find_named
from shared.db.plan_effect import count_planned
from shared.db.system_settings import as_plain, load_system_settings, seal_of_settings
from shared.db.tables import application_statuses
from shared.domain.filters import META_STATUSES
from shared.domain.job_fields import one_of, read_name
from shared.domain.seals import seal_of
from shared.errors import InvalidInput, Outdated
from shared.setup import apply_setup
from shared.setup.document import Entry, Setup
from shared.setup.records import save_settings
from shared.setup.settings_fields import DUPLICATE_KEYS, read_setting

#: Settings that a form gives as texts, and those that are numbers.
_TEXTS = ("time_zone", "leap_day_birthday", "sender", "company", "four_eyes")
_NUMBERS = ("catch_up_hours", "sync_minutes", "frequency_cap_days")


async def show_settings(visit: Visit) -> Response:
    """The settings in force; a form for administrators."""
    async with visit.database.read() as connection:
        current = await load_system_settings(connection)
    return await _page(visit, _as_typed(as_plain(current)), {}, seal_of_settings(current))


async def take_settings(visit: Visit) -> Response:
    """First what the change would mean, then, confirmed, the change; or the same form with what cannot be used."""
    typed = {name: visit.field(name) for name in (*_TEXTS, *_NUMBERS, "reduce_core_data", "after_months")}
    chosen = {name: visit.fields(name) for name in ("core_data_keeps", "duplicate_keys")}
    wanted, errors = _read(visit, typed, chosen)
    seen = visit.field("seen")
    if errors or visit.field("step") == "edit":
        return await _page(visit, {**typed, **chosen}, errors, seen)
    who: dict[str, Any] = {"author": visit.author, "role": visit.actor.role, "now": visit.now}
    try:
        difference = await save_settings(visit.database, wanted, seen, **who, dry_run=True)
        if not difference.records:
            return visit.go("/settings", "Nothing was changed.")
        ((*_, changes),) = difference.records
        seal = seal_of(changes)
        if visit.field("step") == "save" and visit.field("confirmed") == seal:
            await save_settings(visit.database, wanted, seen, **who)
            return visit.go("/settings", "The settings are saved.")
    except Outdated:
        return await _anew(visit)
    return await _confirm(visit, {**typed, "seen": seen}, chosen, difference.impact, changes, seal)


async def _anew(visit: Visit) -> Response:
    """The settings as they are now: the form sends all of them, and would take back what somebody else changed."""
    async with visit.database.read() as connection:
        current = await load_system_settings(connection)
    error = visit.text("Somebody else has changed the settings meanwhile. This is how they are now; nothing was saved.")
    return await _page(visit, _as_typed(as_plain(current)), {"form": error}, seal_of_settings(current))


async def _confirm(
    visit: Visit,
    typed: dict[str, str],
    chosen: dict[str, list[str]],
    impact: list[Impact],
    changes: list[Change],
    seal: str,
) -> Response:
    async with visit.database.read() as connection:
        planned = await count_planned(connection)
    return visit.render(
        "settings_confirm.html",
        typed=typed,
        chosen=chosen,
        changes=[(visit.text(FIELDS[field]), field, old, new) for field, old, new in changes],
        said=settings_sentences(visit, {field for field, _, _ in changes}, planned),
        seal=seal,
        **await impact_values(visit, [one for one in impact if one.added or one.removed]),
    )


def _read(visit: Visit, typed: dict[str, str], chosen: dict[str, list[str]]) -> tuple[dict[str, Any], dict[str, str]]:
    months = typed["after_months"]
    kept = {"after_months": months} if typed["reduce_core_data"] == "after_months" else typed["reduce_core_data"]
    given: dict[str, Any] = {name: typed[name] for name in _TEXTS} | {"reduce_core_data": kept} | chosen
    given["company"] = given["company"] or None
    given |= {name: _number(typed[name]) for name in _NUMBERS}
    wanted, errors = {}, {}
    for name, value in given.items():
        try:
            wanted[name] = read_setting(name, value)
        except InvalidInput as exc:
            where = "after_months" if exc.place.endswith("after_months") else name
            errors[where] = visit.refusal(exc)
    return wanted, errors


def _number(text: str) -> Any:
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return int(number) if number == int(number) else number


def _as_typed(current: dict[str, Any]) -> dict[str, Any]:
    reduction = current["reduce_core_data"]
    is_later = isinstance(reduction, dict)
    return {
        **current,
        "reduce_core_data": "after_months" if is_later else reduction,
        "after_months": reduction["after_months"] if is_later else "",
        "four_eyes": "yes" if current["four_eyes"] else "no",
    }


async def _page(visit: Visit, values: dict[str, Any], errors: dict[str, str], seen: str) -> Response:
    async with visit.database.read() as connection:
        hold = await load_hold(connection)
    names = {"keeps": ERASED, "keys": DUPLICATE_KEYS, "seen": seen}
    return visit.render("settings.html", 422 if errors else 200, values=values, errors=errors, hold=hold, **names)


async def show_statuses(visit: Visit) -> Response:
    """Every status of an application, with what it means to the rules."""
    return await _statuses(visit, {"name": "", "meta": "new"}, {})


async def take_status(visit: Visit) -> Response:
    """A new status, as `apply` makes it; or the same form with what is wrong."""
    typed = {"name": visit.field("name"), "meta": visit.field("meta")}
    try:
        name = read_name("status, name", typed["name"])
        async with visit.database.read() as connection:
            if await find_named(connection, application_statuses, name) is not None:
                raise InvalidInput("status, name", name, "exists already")
        meta = one_of(*META_STATUSES)("status, meta", typed["meta"])
        setup = Setup(statuses=(Entry("status", name, None, {"meta": meta}),))
        await apply_setup(visit.database, setup, author=visit.author, role=visit.actor.role, now=visit.now)
    except InvalidInput as exc:
        return await _statuses(visit, typed, {"name": visit.refusal(exc)})
    return visit.go("/settings/statuses", "The status %(name)s is saved.", name=name)


async def _statuses(visit: Visit, typed: dict[str, str], errors: dict[str, str]) -> Response:
    s = application_statuses.c
    async with visit.database.read() as connection:
        rows = await connection.execute(select(s.name, s.meta).order_by(s.name_folded))
        found = list(rows.mappings())
    values = {"statuses": found, "typed": typed, "errors": errors}
    return visit.render("settings_statuses.html", 422 if errors else 200, **values)


async def export_statuses(visit: Visit) -> Response:
    """The statuses as a workbook."""
    return await download(
        visit, "statuses", told=lambda row: {**row, "meta": shown(visit.text, "meta_status", row["meta"])}
    )


async def take_release(visit: Visit) -> Response:
    """Ends the hold: what waits goes out now."""
    if visit.field("understood") != "yes":
        return visit.go("/settings")
    waiting = await release_hold(visit.database, author=visit.author, now=visit.now)
    return visit.go("/settings", "Released: %(count)s letters wait and go out now.", count=waiting)


PAGES = (
    Page("/settings", show_settings, "view"),
    Page("/settings", take_settings, "admin", ("POST",)),
    Page("/settings/statuses", show_statuses, "view"),
    Page("/settings/statuses", take_status, "admin", ("POST",)),
    Page("/settings/statuses.xlsx", export_statuses, "view"),
    Page("/settings/hold/release", take_release, "admin", ("POST",)),
)
