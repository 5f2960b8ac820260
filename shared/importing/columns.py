"""Which columns a file may have."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from shared.domain.text import fold
from shared.errors import InvalidInput

#: In the known columns: any column `custom.NAME`.
ANY_CUSTOM = "custom.*"
_CUSTOM = "custom."
#: Longest name of a custom field, in characters: an index entry holds it on every database.
_LONGEST_NAME = 200


def custom_name(column: str) -> str | None:
    """NAME of a column `custom.NAME`; None for any other column."""
    return column.removeprefix(_CUSTOM).strip() if column.startswith(_CUSTOM) else None


def check_columns(place: str, columns: Iterable[str], known: Sequence[str]) -> None:
    """Every column is known and there once; raises InvalidInput with the nearest valid name."""
    seen: set[str] = set()
    for column in columns:
        name = custom_name(column) if ANY_CUSTOM in known else None
        if name is None and column not in known:
            near = get_close_matches(column, known, 1, cutoff=0.6)
            raise InvalidInput(place, column, "unknown column" + (f"; did you mean {near[0]!r}?" if near else ""))
        if name is not None and (not name or len(name) > _LONGEST_NAME or "\x00" in name):
            raise InvalidInput(place, column[:80], f"name the custom field with 1 to {_LONGEST_NAME} characters")
        # Names of custom fields ignore case, like every name.
        same = column if name is None else _CUSTOM + fold(name)
        if same in seen:
            raise InvalidInput(place, column, "the column is there twice")
        seen.add(same)


def check_header(place: str, columns: Sequence[str], known: Sequence[str], required: Sequence[str]) -> None:
    """The header of a CSV file. `required` names columns; 'a|b' asks for one of two. Raises InvalidInput."""
    if not any(columns):
        raise InvalidInput(place, "", "the header is missing")
    for separator, name in ((";", "semicolon"), ("\t", "tab"), ("|", "bar")):
        if len(columns) == 1 and separator in columns[0]:
            raise InvalidInput(
                place, separator, f"the separator is a {name}, it must be a comma; save the file with commas"
            )
    check_columns(place, columns, known)
    for choices in required:
        if not any(choice in columns for choice in choices.split("|")):
            raise InvalidInput(place, choices.replace("|", " or "), "the required column is missing")
