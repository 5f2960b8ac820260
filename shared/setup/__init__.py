"""The setup file: statuses, users, queries, letters, jobs and settings, read, compared, applied and exported."""

from shared.setup.apply import apply_setup
from shared.setup.difference import Difference
from shared.setup.document import Setup, read_setup
from shared.setup.export import export_setup

__all__ = ["Difference", "Setup", "apply_setup", "export_setup", "read_setup"]
