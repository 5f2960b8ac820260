"""Every address of the console, with the right that it needs."""

from services.console.pages import (
    account,
    history,
    job_dispatch,
    job_file,
    job_outlook,
    jobs,
    letters,
    mails,
    monitor,
    overview,
    queries,
    settings,
    users,
    workcenter,
)
from services.console.routing import Page

PAGES: tuple[Page, ...] = (
    *account.PAGES,
    *history.PAGES,
    *job_dispatch.PAGES,
    *job_file.PAGES,
    *job_outlook.PAGES,
    *jobs.PAGES,
    *letters.PAGES,
    *mails.PAGES,
    *monitor.PAGES,
    *overview.PAGES,
    *queries.PAGES,
    *settings.PAGES,
    *users.PAGES,
    *workcenter.PAGES,
)
