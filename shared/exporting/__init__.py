"""Lists as files: what can be exported, and the forms - CSV, JSON Lines, a typed Excel sheet."""

from shared.exporting.export import export_list
from shared.exporting.lists import LISTS

__all__ = ["LISTS", "export_list"]
