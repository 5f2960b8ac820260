"""Form letters: the list, the editor, the letter as a real applicant gets it."""

from typing import Any

from markupsafe import escape
from starlette.responses import HTMLResponse, Response

from services.console.downloads import download
from services.console.pages.fixes import doubt_of, fix_of
from services.console.pages.history import told_history
from services.console.pages.letter_forms import NEW, Draft, draft_of, fields_of_form
from services.console.pages.letter_reads import PRINTED, choices, letter_page, load_for_page
from services.console.pages.query_reads import named_impact
from services.console.routing import Page
from services.console.visits import Visit, whole
from shared.db.job_changes import warnings_of
from shared.db.letter_changes import layout_of
from shared.db.letter_data import load_attachments
from shared.db.letter_trials import (
    TRIED,
    SampleCheck,
    TrialMail,
    Wanted,
    Written,
    check_draft,
    check_stored,
    record_test_mail,
    sample_ids,
    write_draft,
)
from shared.db.named_records import find_named
from shared.db.tables import attachments, form_letters
from shared.db.unused_records import delete_letter
from shared.domain.letters import PLACEHOLDERS, RenderedLetter
from shared.domain.seals import seal_of
from shared.errors import InvalidInput, Outdated, Refused
from shared.setup.records import Edited, id_of_saved, save_letter
from shared.web.bounds import Bound

#: A letter's own page: no script, nothing from elsewhere, its styles as they are; only the console may frame it.
LETTER_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_LETTER_HEADERS = {"Content-Security-Policy": LETTER_POLICY, "X-Frame-Options": "SAMEORIGIN"}
#: As most mail programs show a letter that says nothing about its font.
_LETTER_STYLE = "<style>body{font:15px/1.5 Arial,Helvetica,sans-serif;margin:16px;color:#1d2733}</style>"
#: Test letters of one user within ten minutes: a tester's mailbox is not flooded.
_TESTS = Bound(20, 600.0)
#: Applicants on which each letter of the list is tried out.
_LISTED_SAMPLES = 50


async def show_list(visit: Visit) -> Response:
    """Every letter."""
    async with visit.database.read() as connection:
        paged = await letter_page(connection, visit.asked("after"), visit.is_printing)
    return visit.render("letter_list.html", paged=paged, printed=PRINTED, first=not visit.asked("after"))


async def excel(visit: Visit) -> Response:
    """The whole list as a sheet."""
    return await download(visit, "letters")


async def show_warnings(visit: Visit) -> Response:
    """What is wrong with one letter of the list, for those whom its jobs choose today."""
    async with visit.database.read() as connection:
        check = await check_stored(connection, visit.path("id"), visit.now, _LISTED_SAMPLES)
    return visit.render("letter_warnings.html", check=check, listed=True)


async def show_new(visit: Visit) -> Response:
    """An editor with the shortest useful letter."""
    return await _page(visit, None, "", Draft(dict(NEW), {}))


async def show_letter(visit: Visit) -> Response:
    """The editor of a stored letter."""
    letter = await _load(visit, visit.path("id"))
    return await _page(visit, letter, letter["name"], Draft(letter["content"], {}))


async def _load(visit: Visit, letter_id: int) -> dict[str, Any]:
    async with visit.database.read() as connection:
        return await load_for_page(connection, letter_id)


async def _page(
    visit: Visit,
    letter: dict[str, Any] | None,
    name: str,
    draft: Draft,
    impact: list[dict[str, Any]] | None = None,
    confirms: str = "",
) -> Response:
    async with visit.database.read() as connection:
        offered = await choices(connection)
        doubts = await warnings_of(connection, [job["id"] for job in letter["jobs"]]) if letter else []
    return visit.render(
        "letter_page.html",
        422 if draft.errors else 200,
        letter=letter,
        name=name,
        draft=draft.fields,
        other=next(iter(draft.fields["variants"] or ()), {}),
        errors=draft.errors,
        impact=impact or [],
        doubts=[doubt_of(visit, one) for one in doubts],
        confirms=confirms,
        history=told_history(visit, "letter", letter["history"]) if letter else [],
        placeholders=[
            (one.name, one.meaning_de if visit.language == "de" else one.meaning_en, one.example)
            for one in PLACEHOLDERS
        ],
        **offered,
    )


async def save(visit: Visit) -> Response:
    """Saves, after showing how many planned letters get the new text."""
    letter = await _load(visit, visit.path("id")) if "id" in visit.request.path_params else None
    draft, name = await _draft(visit, letter), visit.field("name")
    if draft.errors:
        return await _page(visit, letter, name, draft)
    edited = Edited(letter["id"], whole(visit.field("version"))) if letter else None
    who: dict[str, Any] = {"author": visit.author, "now": visit.now}
    try:
        seal = seal_of(name, draft.fields)
        if letter and letter["jobs"] and visit.field("confirmed") != seal:
            rehearsed = await save_letter(visit.database, edited, name, draft.fields, **who, dry_run=True)
            if any(one.letters_changed for one in rehearsed.impact):
                async with visit.database.read() as connection:
                    impact = await named_impact(connection, rehearsed.impact)
                return await _page(visit, letter, name, draft, impact, seal)
        await save_letter(visit.database, edited, name, draft.fields, **who)
    except Outdated as exc:
        # What was written stays; saved once more it takes the place of the other one.
        draft.errors["form"] = visit.refusal(exc)
        return await _page(visit, letter, name, draft)
    except InvalidInput as exc:
        draft.errors["name" if exc.place == "name" else "html"] = fix_of(visit, exc)
        return await _page(visit, letter, name, draft)
    saved = await id_of_saved(visit.database, form_letters, name)
    return visit.go(f"/letters/{saved}", "The form letter %(name)s is saved.", name=name)


async def _draft(visit: Visit, letter: dict[str, Any] | None) -> Draft:
    """The letter as it stands in the form; as it is stored for who may only look."""
    stored = letter["content"] if letter else NEW
    fields = fields_of_form(visit, stored) if visit.may("edit") else stored
    async with visit.database.read() as connection:
        try:
            _, layout = await layout_of(connection, fields, "letter")
        except InvalidInput as exc:
            return Draft(fields, {"layout": fix_of(visit, exc)})
    return draft_of(visit, fields, layout)


async def _at_hand(visit: Visit) -> tuple[int, Draft]:
    given = whole(visit.field("letter"))
    letter = await _load(visit, given) if given else None
    return (letter["id"] if letter else 0), await _draft(visit, letter)


def _wanted(visit: Visit) -> Wanted:
    step = {"next": 1, "previous": -1}.get(visit.field("step"), 0)
    return Wanted(whole(visit.field("as")), step, visit.field("special"))


async def _written(visit: Visit) -> tuple[Draft, list[int], Written | None, SampleCheck | None]:
    """The draft, for whom it is tried out, as one of them gets it, and what goes wrong for whom."""
    letter_id, draft = await _at_hand(visit)
    # Chosen once and kept by the form: to choose them anew with every letter typed may take long.
    samples = [whole(one) for one in visit.field("samples").split(",") if whole(one)][:TRIED]
    if draft.forms is None:
        return draft, samples, None, None
    now, forms = visit.now, draft.forms
    async with visit.database.read() as connection:
        samples = samples or await sample_ids(connection, letter_id, now)
        written = await write_draft(connection, letter_id, forms, samples, _wanted(visit), now)
        return draft, samples, written, await check_draft(connection, letter_id, forms, samples, now)


async def try_it(visit: Visit) -> Response:
    """The draft as a real applicant gets it: head, text, warnings; the HTML follows in its frame."""
    draft, samples, written, check = await _written(visit)
    shown = written.application["id"] if written else visit.field("as")
    return visit.render(
        "letter_try.html",
        errors=draft.errors,
        written=written,
        check=check,
        shown=shown,
        samples=",".join(map(str, samples)),
        special=visit.field("special"),
    )


async def show_in_frame(visit: Visit) -> Response:
    """The HTML of the draft alone, under a policy of its own."""
    _, _, written, _ = await _written(visit)
    return in_frame(written.letter if written else None)


def in_frame(letter: RenderedLetter | None) -> Response:
    """A letter as the content of a frame, with nothing else of the console around it."""
    page = "" if letter is None else letter.html
    if letter is not None and page is None:
        page = f'<pre style="white-space:pre-wrap;font:14px monospace">{escape(letter.text)}</pre>'
    return HTMLResponse(f'<!doctype html><meta charset="utf-8">{_LETTER_STYLE}{page}', headers=_LETTER_HEADERS)


async def send_test(visit: Visit) -> Response:
    """Sends the draft to a tester as the applicant of the preview gets it: no order, no status, no contact entry."""
    to = visit.field("test_to")
    draft, _, written, _ = await _written(visit)
    send = visit.surroundings.send_trial
    if send is None or written is None or written.letter is None or written.sender is None:
        error = visit.text("The letter cannot be written yet; see the preview.")
        return visit.render("letter_test.html", 422, to=to, error=error, sent=False)
    if not _TESTS.allows(visit.author):
        error = visit.text("You have sent many tests just now; try again in a few minutes.")
        return visit.render("letter_test.html", 429, to=to, error=error, sent=False)
    async with visit.database.read() as connection:
        named = [await find_named(connection, attachments, one) for one in draft.fields["attachments"] or ()]
        files = await load_attachments(connection, [one["id"] for one in named if one])
    try:
        await send(TrialMail(written.letter, written.sender, to, files))
    except InvalidInput as exc:
        return visit.render("letter_test.html", 422, to=to, error=fix_of(visit, exc), sent=False)
    except Refused as exc:
        error = visit.text("The mail server did not take it: %(reason)s", reason=visit.refusal(exc))
        return visit.render("letter_test.html", 422, to=to, error=error, sent=False)
    shown = str(written.application["external_id"])
    await record_test_mail(visit.database, visit.field("name"), shown, to, author=visit.author, now=visit.now)
    return visit.render("letter_test.html", to=to, error="", sent=True)


async def show_delete(visit: Visit) -> Response:
    """Asks for the name."""
    return visit.render("letter_delete.html", letter=await _load(visit, visit.path("id")), errors={})


async def delete(visit: Visit) -> Response:
    """Deletes a letter that nothing needs."""
    letter = await _load(visit, visit.path("id"))
    if visit.field("name") != letter["name"]:
        errors = {"name": visit.text("This is not the name; nothing was deleted.")}
        return visit.render("letter_delete.html", 422, letter=letter, errors=errors)
    name = await delete_letter(visit.database, letter["id"], author=visit.author, now=visit.now)
    return visit.go("/letters", "The form letter %(name)s is deleted.", name=name)


PAGES = (
    Page("/letters", show_list, "view"),
    Page("/letters/excel", excel, "view"),
    Page("/letters/new", show_new, "edit"),
    Page("/letters/new", save, "edit", ("POST",)),
    Page("/letters/try", try_it, "view", ("POST",)),
    Page("/letters/preview", show_in_frame, "view", ("POST",)),
    Page("/letters/test", send_test, "operate", ("POST",)),
    Page("/letters/{id:int}", show_letter, "view"),
    Page("/letters/{id:int}", save, "edit", ("POST",)),
    Page("/letters/{id:int}/warnings", show_warnings, "view"),
    Page("/letters/{id:int}/delete", show_delete, "edit"),
    Page("/letters/{id:int}/delete", delete, "edit", ("POST",)),
)
