"""Every address of the console, with the right that it needs."""

from services.console.pages import account, history, mails, monitor, overview, settings, users, workcenter
from services.console.routing import Page

PAGES: tuple[Page, ...] = (
    *account.PAGES,
    *history.PAGES,
    *mails.PAGES,
    *monitor.PAGES,
    *overview.PAGES,
    *settings.PAGES,
    *users.PAGES,
    *workcenter.PAGES,
)
