"""A letter to one applicant: the text in the applicant's language, filled from the records (D6, D43)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from shared.domain.letters import (
    CompiledLetter,
    LetterContext,
    LetterText,
    RenderedLetter,
    compile_letter,
    language_of,
)
from shared.domain.placeholders import Sender
from shared.domain.senders import User, resolve_sender
from shared.records import record


@dataclass(frozen=True, slots=True)
class LetterForms:
    """One version of a letter in its languages, compiled; the first is its own, for whoever speaks none of them."""

    by_language: Mapping[str, CompiledLetter]

    def for_language(self, tag: str | None) -> CompiledLetter:
        """The form for a language tag such as 'en-GB'."""
        own = next(iter(self.by_language.values()))
        return self.by_language.get(language_of(tag) or "", own)


@record
class Occasion:
    """What a letter is written from besides its applicant."""

    #: The job's sender and its fallback (D6).
    wishes: tuple[str | None, ...]
    users: Mapping[str, User]
    system_sender: str
    company: str | None
    #: The send day in the job's time zone.
    today: date
    #: Makes the recipient's own link that a placeholder stands for; asked only for those that the letter names.
    link: Callable[[str], str | None] | None = None


def compile_forms(texts: Sequence[LetterText], *, composed: bool) -> LetterForms:
    """All languages of a letter, ready to be written; raises InvalidInput. Costs milliseconds."""
    compiled = [compile_letter(text, composed=composed) for text in texts]
    return LetterForms({one.language: one for one in compiled})


def write_letter(
    forms: LetterForms, application: Mapping[str, Any], occasion: Occasion
) -> tuple[RenderedLetter, Sender]:
    """The letter to an application and who it comes from; raises UnrenderableLetter."""
    context = _context(application, occasion)
    return forms.for_language(application["language"]).render(context), context.sender


def data_used(forms: LetterForms, application: Mapping[str, Any], occasion: Occasion) -> dict[str, object]:
    """What the letter is filled with, by placeholder; raises UnrenderableLetter."""
    return forms.for_language(application["language"]).data(_context(application, occasion))


def _context(application: Mapping[str, Any], occasion: Occasion) -> LetterContext:
    sender = resolve_sender(occasion.wishes, application["recruiter"], occasion.users, occasion.system_sender)
    recruiter = occasion.users.get(application["recruiter_folded"] or "")
    return LetterContext(
        application=application,
        recruiter=_as_mapping(recruiter),
        sender=sender,
        company_name=occasion.company,
        today=occasion.today,
        link=occasion.link,
    )


def _as_mapping(user: User | None) -> dict[str, Any] | None:
    return {"name": user.name, "display_name": user.display_name, "email": user.email} if user else None
