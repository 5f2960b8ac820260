"""A whole list as a file: written to disk row by row, then sent and removed."""

import tempfile
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from services.console.visits import Visit
from shared.exporting import LISTS, Source, export_source


async def download(visit: Visit, what: str, ending: str = "xlsx", narrowed: Source | None = None) -> Response:
    """The list `what` (applications, contacts, jobs, orders, ...) with everything in it, not just a page.

    `narrowed`: instead of the whole list this one, under the same name.
    """
    folder = tempfile.TemporaryDirectory(prefix="kontaktpflege-")
    try:
        file = Path(folder.name) / f"{what}.{ending}"
        await export_source(visit.database, narrowed or LISTS[what], file, visit.now)
    except BaseException:
        folder.cleanup()
        raise
    name = f"{what}-{(await visit.today()).isoformat()}.{ending}"
    return FileResponse(file, filename=name, background=BackgroundTask(folder.cleanup))
