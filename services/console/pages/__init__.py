"""Every address of the console, with the right that it needs."""

from services.console.pages import account, overview, workcenter
from services.console.routing import Page

PAGES: tuple[Page, ...] = (
    *account.PAGES,
    *overview.PAGES,
    *workcenter.PAGES,
)
