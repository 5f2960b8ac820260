"""Every address of the console, with the right that it needs."""

from services.console.pages import account, letters, overview, queries, workcenter
from services.console.routing import Page

PAGES: tuple[Page, ...] = (
    *account.PAGES,
    *letters.PAGES,
    *overview.PAGES,
    *queries.PAGES,
    *workcenter.PAGES,
)
