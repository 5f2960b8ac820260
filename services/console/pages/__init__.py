"""Every address of the console, with the right that it needs."""

from services.console.pages import (
    account,
    job_dispatch,
    job_file,
    job_outlook,
    jobs,
    overview,
    workcenter,
)
from services.console.routing import Page

PAGES: tuple[Page, ...] = (
    *account.PAGES,
    *overview.PAGES,
    *jobs.PAGES,
    *job_file.PAGES,
    *job_dispatch.PAGES,
    *job_outlook.PAGES,
    *workcenter.PAGES,
)
