"""Every address of the console, with the right that it needs."""

from services.console.pages import (
    account,
    applications,
    history,
    imports,
    job_dispatch,
    job_file,
    job_outlook,
    jobs,
    letters,
    mails,
    monitor,
    order_record,
    overview,
    queries,
    search,
    settings,
    users,
    workcenter,
)
from services.console.routing import Page

PAGES: tuple[Page, ...] = (
    *account.PAGES,
    *applications.PAGES,
    *history.PAGES,
    *imports.PAGES,
    *job_dispatch.PAGES,
    *job_file.PAGES,
    *job_outlook.PAGES,
    *jobs.PAGES,
    *letters.PAGES,
    *mails.PAGES,
    *monitor.PAGES,
    *order_record.PAGES,
    *overview.PAGES,
    *queries.PAGES,
    *search.PAGES,
    *settings.PAGES,
    *users.PAGES,
    *workcenter.PAGES,
)
