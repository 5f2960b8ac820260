"""Whether a letter and a job fit: a consent letter needs its two links, every other letter must do without them."""

from shared.domain.consent import CONSENT_LINKS
from shared.domain.letter_writing import LetterForms
from shared.errors import InvalidInput


def check_links(place: str, letter: str, forms: LetterForms, *, asks_consent: bool) -> None:
    """Raises InvalidInput where the letter of a job lacks a link that it needs, or has one that leads nowhere.

    HTML and text of every language need both: who reads the one does not see the other.
    """
    for language, form in forms.by_language.items():
        parts = {"html": form.html, "text": form.text} if asks_consent else {"": form}
        for name, part in parts.items():
            if part is None:
                continue
            there = set(part.paths.values())
            if asks_consent and (missing := [link for link in CONSENT_LINKS if link not in there]):
                fix = f"write {{{{ {missing[0]} }}}} into its {name} ({language}): the job asks for consent"
                raise InvalidInput(f"{place}, letter", letter, fix)
            if not asks_consent and (idle := [link for link in CONSENT_LINKS if link in there]):
                fix = f"take {{{{ {idle[0]} }}}} out, or give the job `consent`: it asks for none"
                raise InvalidInput(f"{place}, letter", letter, fix)
