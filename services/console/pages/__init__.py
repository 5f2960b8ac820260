"""Every address of the console, with the right that it needs."""

from services.console.pages import account, applications, imports, overview, search, workcenter
from services.console.routing import Page

PAGES: tuple[Page, ...] = (
    *account.PAGES,
    *applications.PAGES,
    *imports.PAGES,
    *overview.PAGES,
    *search.PAGES,
    *workcenter.PAGES,
)
