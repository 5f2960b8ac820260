"""Every address of the console, with the right that it needs."""

from services.console.pages import (
    account,
    job_dispatch,
    job_file,
    job_outlook,
    jobs,
    letters,
    overview,
    queries,
    workcenter,
)
from services.console.routing import Page

PAGES: tuple[Page, ...] = (
    *account.PAGES,
    *job_dispatch.PAGES,
    *job_file.PAGES,
    *job_outlook.PAGES,
    *jobs.PAGES,
    *letters.PAGES,
    *overview.PAGES,
    *queries.PAGES,
    *workcenter.PAGES,
)
