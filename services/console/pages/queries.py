"""Applicant queries: the list, the builder, and who matches why."""

import re
from dataclasses import replace
from datetime import date
from typing import Any

from starlette.responses import Response

from services.console.downloads import download
from services.console.formats import formats_of
from services.console.pages import query_sentences
from services.console.pages.fixes import doubt_of, fix_of
from services.console.pages.history import told_history
from services.console.pages.query_forms import (
    OFFERED,
    Row,
    filters_of,
    fresh_row,
    rows_of_filters,
    rows_of_form,
)
from services.console.pages.query_reads import (
    PRINTED,
    load_for_page,
    named_impact,
    query_page,
    status_names,
)
from services.console.pages.why_reasons import why_reason
from services.console.routing import Page
from services.console.visits import Visit, whole
from shared.db.job_changes import warnings_of
from shared.db.queries import QueryDay, StoredQuery, resolve_filters
from shared.db.query_trials import find_people, try_query
from shared.db.system_settings import load_system_settings
from shared.db.tables import application_queries
from shared.db.unused_records import delete_query
from shared.db.why import explain_query
from shared.domain.filters import KINDS, META_STATUSES, Filter
from shared.domain.seals import seal_of
from shared.errors import InvalidInput, Outdated
from shared.setup.records import Edited, id_of_saved, save_query


async def show_list(visit: Visit) -> Response:
    """Every query with its filters as sentences."""
    async with visit.database.read() as connection:
        paged = await query_page(connection, visit.asked("after"), visit.is_printing)
    told = {row["id"]: query_sentences.sentences(visit, row["filters"]) for row in paged.rows}
    return visit.render("query_list.html", paged=paged, told=told, printed=PRINTED, first=not visit.asked("after"))


async def excel(visit: Visit) -> Response:
    """The whole list as a sheet."""
    return await download(
        visit,
        "queries",
        told=lambda row: {**row, "filters": "\n".join(query_sentences.sentences(visit, row["filters"]))},
    )


async def show_new(visit: Visit) -> Response:
    """An empty builder, begun with what nearly every query asks."""
    rows = [fresh_row(1, "has_email")]
    return await _page(visit, None, "", rows)


async def show_query(visit: Visit) -> Response:
    """The builder of a stored query."""
    async with visit.database.read() as connection:
        query = await load_for_page(connection, visit.path("id"))
    return await _page(visit, query, query["name"], rows_of_filters(query["filters"]))


async def _page(
    visit: Visit,
    query: dict[str, Any] | None,
    name: str,
    rows: list[Row],
    errors: dict[str, str] | None = None,
    impact: list[dict[str, Any]] | None = None,
    confirms: str = "",
) -> Response:
    async with visit.database.read() as connection:
        statuses = await status_names(connection)
        doubts = await warnings_of(connection, [job["id"] for job in query["jobs"]]) if query else []
    status = 422 if errors or any(row.error for row in rows) else 200
    return visit.render(
        "query_page.html",
        status,
        query=query,
        name=name,
        told=query_sentences.sentences(visit, query["filters"]) if query else [],
        history=told_history(visit, "query", query["history"]) if query else [],
        errors=errors or {},
        impact=impact or [],
        doubts=[doubt_of(visit, one) for one in doubts],
        confirms=confirms,
        today=(await visit.today()).isoformat(),
        on=visit.field("on"),
        **_builder(visit, rows, statuses),
    )


def _builder(visit: Visit, rows: list[Row], statuses: list[str]) -> dict[str, Any]:
    say = visit.text
    return {
        "rows": rows,
        "label": lambda field: query_sentences.label(say, field),
        "offered": [(field, query_sentences.label(say, field)) for field in OFFERED],
        "choices": {
            "status": [(one, one) for one in statuses],
            "meta_status": [(one, say(query_sentences.METAS[one])) for one in META_STATUSES],
            "kind": [(one, say(query_sentences.KINDS[one])) for one in KINDS],
        },
    }


async def change_rows(visit: Visit) -> Response:
    """The builder's rows with one more or one less."""
    rows = rows_of_form(visit)
    if removed := visit.field("remove"):
        rows = [row for row in rows if str(row.number) != removed]
    elif added := visit.field("add"):
        rows.append(fresh_row(max((row.number for row in rows), default=0) + 1, added))
    async with visit.database.read() as connection:
        statuses = await status_names(connection)
    return visit.render("query_rows.html", **_builder(visit, rows, statuses))


async def save(visit: Visit) -> Response:
    """Saves, after showing what that means for the jobs that ask the query."""
    query = None
    if "id" in visit.request.path_params:
        async with visit.database.read() as connection:
            query = await load_for_page(connection, visit.path("id"))
    name, rows = visit.field("name"), rows_of_form(visit)
    filters = filters_of(visit, rows)
    if filters is None:
        return await _page(visit, query, name, rows)
    if not filters:
        return await _page(visit, query, name, rows, {"rows": visit.text("A query needs at least one condition.")})
    edited = Edited(query["id"], whole(visit.field("version"))) if query else None
    given = [one.as_json() for one in filters]
    who: dict[str, Any] = {"author": visit.author, "now": visit.now}
    try:
        seal = seal_of(name, given)
        if query and query["jobs"] and visit.field("confirmed") != seal:
            rehearsed = await save_query(visit.database, edited, name, given, **who, dry_run=True)
            if rehearsed.impact:
                async with visit.database.read() as connection:
                    impact = await named_impact(connection, rehearsed.impact)
                return await _page(visit, query, name, rows, impact=impact, confirms=seal)
        await save_query(visit.database, edited, name, given, **who)
    except Outdated as exc:
        # What was chosen stays; saved once more it takes the place of the other one.
        return await _page(visit, query, name, rows, {"form": visit.refusal(exc)})
    except InvalidInput as exc:
        return await _page(visit, query, name, rows, _placed(visit, rows, exc))
    saved = await id_of_saved(visit.database, application_queries, name)
    return visit.go(f"/queries/{saved}", "The query %(name)s is saved.", name=name)


def _placed(visit: Visit, rows: list[Row], exc: InvalidInput) -> dict[str, str]:
    """Puts a refusal beside the row or the field that it is about."""
    found = re.search(r"filter (\d+)", exc.place)
    if found and 0 < int(found.group(1)) <= len(rows):
        rows[int(found.group(1)) - 1].error = fix_of(visit, exc)
        return {}
    return {"name" if exc.place == "name" else "rows": fix_of(visit, exc)}


async def try_it(visit: Visit) -> Response:
    """How many match the filters as they stand in the form, and the first of them."""
    rows, query, on = await _at_hand(visit)
    if query is None:
        return visit.render("query_answer.html", rows=rows, trial=None, on=None)
    async with visit.database.read() as connection:
        trial = await try_query(connection, query, on)
    return visit.render("query_answer.html", rows=rows, trial=trial, on=on.day)


async def _at_hand(visit: Visit) -> tuple[list[Row], StoredQuery | None, QueryDay]:
    """The query of the form, not saved; None where a filter is wrong."""
    query_id = whole(visit.field("query"))
    async with visit.database.read() as connection:
        settings = await load_system_settings(connection)
        if query_id and not visit.may("edit"):
            # Who may only look has no form: the query as it is stored.
            rows = rows_of_filters((await load_for_page(connection, query_id))["filters"])
        else:
            rows = rows_of_form(visit)
    on = QueryDay(_day(visit.field("on")) or await visit.today(), settings.zone, settings.leap_day_birthday)
    filters = filters_of(visit, rows)
    if not filters:
        return rows, None, on
    try:
        return rows, await _resolved(visit, query_id, filters), on
    except InvalidInput as exc:
        _placed(visit, rows, exc)
        return rows, None, on


async def _resolved(visit: Visit, query_id: int, filters: tuple[Filter, ...]) -> StoredQuery:
    async with visit.database.read() as connection:
        return replace(await resolve_filters(connection, visit.field("name"), filters), id=query_id)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


async def why(visit: Visit) -> Response:
    """Why somebody matches the filters as they stand in the form, or why not."""
    _, query, on = await _at_hand(visit)
    who = visit.field("application") or visit.field("who")
    async with visit.database.read() as connection:
        people = await find_people(connection, who) if who and query else []
        found = None
        if query and len(people) == 1:
            found = await explain_query(connection, query, people[0]["external_id"], on.day, await visit.today())
    told = [query_sentences.sentence(visit, one["filter"]) for one in found["conditions"]] if found else []
    return visit.render(
        "query_why.html",
        who=who,
        query=query,
        people=people,
        found=found,
        told=told,
        values=told_values(visit, found),
        ruled=lambda text: why_reason(visit, text),
    )


def told_values(visit: Visit, found: dict[str, Any] | None) -> list[str]:
    """What each condition found, as people write it."""
    shown = []
    for one in found["conditions"] if found else ():
        field, value = one["filter"]["field"], one["value"]
        if value in ("yes", "no"):
            shown.append(visit.text(value))
        elif value and (day := _day(value[:10])):
            text = formats_of(visit.language)["day"](day)
            received = visit.text("%(day)s (received; no contact yet)", day=text)
            shown.append(received if "received" in value else text)
        else:
            shown.append(query_sentences.shown(visit.text, field, value or ""))
    return shown


async def show_delete(visit: Visit) -> Response:
    """Asks for the name."""
    async with visit.database.read() as connection:
        query = await load_for_page(connection, visit.path("id"))
    return visit.render("query_delete.html", query=query, errors={})


async def delete(visit: Visit) -> Response:
    """Deletes a query that no job uses."""
    async with visit.database.read() as connection:
        query = await load_for_page(connection, visit.path("id"))
    if visit.field("name") != query["name"]:
        errors = {"name": visit.text("This is not the name; nothing was deleted.")}
        return visit.render("query_delete.html", 422, query=query, errors=errors)
    name = await delete_query(visit.database, query["id"], author=visit.author, now=visit.now)
    return visit.go("/queries", "The query %(name)s is deleted.", name=name)


PAGES = (
    Page("/queries", show_list, "view"),
    Page("/queries/excel", excel, "view"),
    Page("/queries/new", show_new, "edit"),
    Page("/queries/new", save, "edit", ("POST",)),
    Page("/queries/filters", change_rows, "edit", ("POST",)),
    Page("/queries/try", try_it, "view", ("POST",)),
    Page("/queries/why", why, "view", ("POST",)),
    Page("/queries/{id:int}", show_query, "view"),
    Page("/queries/{id:int}", save, "edit", ("POST",)),
    Page("/queries/{id:int}/delete", show_delete, "edit"),
    Page("/queries/{id:int}/delete", delete, "edit", ("POST",)),
)
