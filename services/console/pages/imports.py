"""Importing a file in two steps: a check that changes nothing, then the import."""

import asyncio
import atexit
import csv
import io
import secrets
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.responses import Response

from services.console.routing import USUAL_BYTES, Page
from services.console.visits import Visit
from services.console.words import translated_reason
from shared.errors import InvalidInput
from shared.importing.applications import import_applications
from shared.importing.contacts import import_contacts
from shared.importing.report import ImportReport

#: A larger file is for the command line.
MOST_BYTES = 50 * 1024 * 1024
#: Bad rows on the page; the report keeps more of them for the file (KEPT_BAD_ROWS).
SHOWN = 100
#: Names of unknown recruiters on the page.
_RECRUITERS = 10
_KEPT_SECONDS = 3600
_PREFIX = "kontaktpflege-import-"
_KINDS = {"applications": import_applications, "contacts": import_contacts}


@dataclass(frozen=True, slots=True)
class Upload:
    """A checked file that waits for its import; readable by this process's user alone."""

    folder: Path
    file: Path
    kind: str
    report: ImportReport
    since: float
    #: What the page of this check hands back: another tab's file is not imported in its place.
    token: str


#: By session: the file is nobody else's, and another upload takes its place.
_waiting: dict[str, Upload] = {}


def forget(session: str) -> None:
    """Deletes the file that a session has uploaded and not imported."""
    if (upload := _waiting.pop(session, None)) is not None:
        shutil.rmtree(upload.folder, ignore_errors=True)


def _forget_all() -> None:
    for session in list(_waiting):
        forget(session)


# Applicants' data does not outlive the process; what a killed one left is deleted by the next upload.
atexit.register(_forget_all)


def _forget_old() -> None:
    for session, upload in list(_waiting.items()):
        if time.monotonic() - upload.since > _KEPT_SECONDS:
            forget(session)
    known = {upload.folder for upload in _waiting.values()}
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder not in known and time.time() - folder.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


async def show(visit: Visit) -> Response:
    """The form."""
    return _form(visit)


def _form(visit: Visit, error: str = "", kind: str = "applications") -> Response:
    return visit.render("import.html", 422 if error else 200, error=error, kind=kind, most=MOST_BYTES // 1024**2)


async def take_file(visit: Visit) -> Response:
    """Checks the uploaded file: the import is done in one transaction and taken back."""
    _forget_old()
    kind, given = visit.field("kind"), visit.form.get("file")
    if kind not in _KINDS:
        raise InvalidInput("kind", kind, "choose one from the list")
    if not isinstance(given, UploadFile) or not given.filename:
        return _form(visit, visit.text("Choose a file."), kind)
    ending = Path(given.filename).suffix.lower()
    if ending not in (".csv", ".jsonl"):
        return _form(visit, visit.text("The file must end in .csv or .jsonl."), kind)
    if given.size is None or given.size > MOST_BYTES:
        return _form(visit, visit.text("The file is too large."), kind)
    session = visit.signed_in.token_hash
    forget(session)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    file = folder / f"upload{ending}"
    try:
        with file.open("wb") as out:
            shutil.copyfileobj(given.file, out)
        report = await _KINDS[kind](visit.database, file, author=visit.author, now=visit.now, check=True)
    except InvalidInput as exc:
        shutil.rmtree(folder, ignore_errors=True)
        message = visit.text("The file cannot be used: %(what)s", what=visit.refusal(exc))
        return _form(visit, message, kind)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    asyncio.get_running_loop().call_later(_KEPT_SECONDS + 1, _forget_old)
    upload = _waiting[session] = Upload(folder, file, kind, report, time.monotonic(), secrets.token_urlsafe(16))
    shown = {"shown": SHOWN, "recruiters": _RECRUITERS}
    return visit.render("import_check.html", report=report, kind=kind, name=given.filename, token=upload.token, **shown)


def _reason(visit: Visit, text: str) -> str:
    return translated_reason(text, visit.text)


async def give_bad_rows(visit: Visit) -> Response:
    """The bad rows as a CSV file."""
    upload = _waiting.get(visit.signed_in.token_hash)
    if upload is None:
        return visit.go("/import", "The file is gone; choose it again.")
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([visit.text(one) for one in ("Line", "Column", "Value", "Reason")])
    for bad in upload.report.bad_rows:
        # A spreadsheet must not take a value for a formula.
        value = bad.value.replace("\x00", "")
        value = f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value
        writer.writerow([bad.line, bad.column, value, _reason(visit, bad.reason)])
    headers = {"Content-Disposition": 'attachment; filename="bad-rows.csv"'}
    return Response(out.getvalue().encode("utf-8-sig"), media_type="text/csv", headers=headers)


async def take_import(visit: Visit) -> Response:
    """Imports the checked file's good rows."""
    _forget_old()
    session = visit.signed_in.token_hash
    upload = _waiting.get(session)
    if upload is None or upload.token != visit.field("token"):
        return visit.go("/import", "The file is gone; choose it again.")
    # Taken before the import begins: a second click finds nothing to import again.
    del _waiting[session]
    try:
        work = _KINDS[upload.kind]
        report = await work(visit.database, upload.file, author=visit.author, now=visit.now)
    finally:
        shutil.rmtree(upload.folder, ignore_errors=True)
    message = "Imported: %(added)s added, %(updated)s updated, %(bad)s left out."
    to = "/applications" if upload.kind == "applications" else "/import"
    return visit.go(to, message, added=report.inserted, updated=report.updated, bad=report.bad_count)


PAGES = (
    Page("/import", show, "edit"),
    Page("/import", take_file, "edit", ("POST",), most_bytes=MOST_BYTES + USUAL_BYTES),
    Page("/import/bad-rows", give_bad_rows, "edit"),
    Page("/import/run", take_import, "edit", ("POST",)),
)
