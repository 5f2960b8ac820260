"""What applying a setup file changes, for people to look at first."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.db.history import Change, as_text
from shared.db.impact import Impact


@dataclass(slots=True)
class Difference:
    """Changes by record, in the order of applying; what else they did, and what to think about."""

    records: list[tuple[str, str, str, list[Change]]] = field(default_factory=list)
    #: (job, text): orders withdrawn by switching on, the next dispatch.
    notes: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    #: For a dry run: what it would mean for the jobs' next dispatches.
    impact: list[Impact] = field(default_factory=list)

    def add(self, kind: str, name: str, action: str, changes: list[Change]) -> None:
        """One record: `action` is created or changed; nothing is kept for an unchanged one."""
        if changes:
            self.records.append((kind, name, action, changes))

    def rows(self) -> Iterator[tuple[str, str, str, str, str]]:
        """Kind, name, change, old and new, line by line."""
        for kind, name, action, changes in self.records:
            if action == "created":
                yield kind, name, "created", "", ""
                continue
            for field_name, old, new in changes:
                yield kind, name, field_name, _short(old), _short(new)
        for job, text in self.notes:
            yield "job", job, "effect", "", text


def _short(value: object, limit: int = 80) -> str:
    text = as_text(value) or ""
    return text if len(text) <= limit else text[: limit - 1] + "…"
