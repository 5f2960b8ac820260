"""Applications and contacts from files: good rows are imported, bad ones are reported by line."""

from shared.importing.applications import import_applications
from shared.importing.contacts import import_contacts
from shared.importing.report import BadRow, ImportReport

__all__ = ["BadRow", "ImportReport", "import_applications", "import_contacts"]
