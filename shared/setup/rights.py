"""The parts of a setup file that only administrators change, in the console too: settings, statuses, users (D5, S23).

Judged by what the file would really change: one that repeats what is there asks for no more than `edit`.
"""

from collections.abc import Sequence

from shared.db.actors import ROLES
from shared.db.history import Change, as_text
from shared.errors import InvalidInput

_ADMINISTERED = ("settings", "status", "user")


def refuse_beyond(author: str, role: str, noun: str, changes: Sequence[tuple[str, Change]], *, is_new: bool) -> None:
    """Raises InvalidInput for a change of one record that is beyond the role; each with its place in the file."""
    if noun not in _ADMINISTERED or not changes or ROLES.index(role) >= ROLES.index("admin"):
        return
    place, (_, old, new) = changes[0]
    what = f"a new {noun}" if is_new else "this change"
    instead = "leave it out" if is_new else f"leave it as it is ({as_text(old)})"
    needs = f"needs 'admin', and user {author!r} has the right {role!r}"
    raise InvalidInput(place, new, f"{what} {needs}; {instead}, or let an administrator apply the file")
