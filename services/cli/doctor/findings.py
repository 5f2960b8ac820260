"""What doctor says: good words, or the place, the value and the fix. Never a secret."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.db.engine import Database
from shared.settings import Settings

#: Stops or endangers letters; works, and is unwise.
FAIL, WARN, OK = "FAIL", "warn", "ok"


@dataclass(frozen=True, slots=True)
class Installation:
    """What is examined: for `role` alone, or for `all`."""

    settings: Settings
    database: Database
    role: str
    database_is_right: bool = True

    def runs(self, *roles: str) -> bool:
        """Whether one of these services is examined."""
        return self.role == "all" or self.role in roles


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong: where, what is there, and what to do. Not `grave`: letters go out all the same."""

    place: str
    value: str
    fix: str
    grave: bool = True


#: What a check has found: what can be said of a good state, or each trouble.
Answer = str | Sequence[Trouble]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of doctor's answer."""

    check: str
    verdict: str
    value: str
    place: str | None = None
    fix: str | None = None

    def __str__(self) -> str:
        said = self.value if self.place is None else f"{self.place}: {self.value}; {self.fix}"
        return f"{self.verdict:4}  {self.check}: {said}"


def findings_of(check: str, answer: Answer) -> list[Finding]:
    """The lines of one check."""
    if isinstance(answer, str):
        return [Finding(check, OK, answer)]
    return [Finding(check, FAIL if one.grave else WARN, one.value, one.place, one.fix) for one in answer]
