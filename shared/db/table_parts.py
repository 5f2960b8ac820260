"""What tables are made of: names of constraints, ids, references, names that ignore case."""

from typing import Any

from sqlalchemy import Column, ColumnElement, ForeignKey, Index, MetaData, func, literal_column, text

from shared.db.column_types import Identifier, PlainText

#: Characters of a text that its index holds.
BEGINNING = 60

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s__%(column_0_N_name)s",
        "uq": "uq_%(table_name)s__%(column_0_N_name)s",
        "ck": "ck_%(table_name)s__%(constraint_name)s",
        "fk": "fk_%(table_name)s__%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def id_column() -> Column[int]:
    """The primary key."""
    return Column("id", Identifier, primary_key=True, autoincrement=True)


def ref_column(name: str, target: str, nullable: bool = False, ondelete: str | None = None) -> Column[int]:
    """A reference to the id of another table."""
    return Column(name, Identifier, ForeignKey(f"{target}.id", ondelete=ondelete), nullable=nullable)


def named_columns() -> list[Column[str]]:
    """Names ignore case and blanks around them: `name` is shown, `name_folded` is compared."""
    return [Column("name", PlainText, nullable=False), Column("name_folded", PlainText, nullable=False, unique=True)]


def partial_index(name: str | None, *columns: str, where: str, unique: bool = False) -> Index:
    """An index of the rows that `where` names."""
    condition = text(where)
    return Index(name, *columns, unique=unique, postgresql_where=condition, sqlite_where=condition)


def beginning_of(column: Any) -> ColumnElement[str]:
    """What an index holds of a text: an entry must not be longer than a third of a page, a text may be."""
    return func.substr(column, literal_column("1"), literal_column(str(BEGINNING)))


def beginnings_index(column: Column[str], *, folded: bool = False) -> Index:
    """An index of how a text begins; `folded`: in whatever case, on PostgreSQL for the operators ~>=~ and ~<~."""
    name = f"ix_{column.table.name}__{column.name}"
    if not folded:
        return Index(name, beginning_of(column))
    return Index(name, func.lower(beginning_of(column)).label("it"), postgresql_ops={"it": "text_pattern_ops"})
