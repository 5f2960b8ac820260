"""What a guard is, and how it is taken out of a copy of the source."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard. `edits` take it out: file, a text that stands there exactly once, what stands there instead."""

    name: str
    invariant: str
    edits: tuple[tuple[str, str, str], ...]
    test: str


def guard(name: str, invariant: str, file: str, old: str, new: str, test: str) -> Guard:
    """A guard that one edit takes out."""
    return Guard(name, invariant, ((file, old, new),), test)
