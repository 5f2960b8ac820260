"""Lists as files: what can be exported, and the forms - CSV, JSON Lines, a typed Excel sheet."""

from shared.exporting.export import export_list, export_source
from shared.exporting.lists import LISTS, Source, applications_of, history_of, orders_of
from shared.exporting.workbook import Wording

__all__ = ["LISTS", "Source", "Wording", "applications_of", "export_list", "export_source", "history_of", "orders_of"]
