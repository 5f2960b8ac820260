"""The salutation line of a letter (D43): formal where the data allows it, neutral where it does not, never empty."""

from functools import lru_cache

_WOMEN = frozenset({"frau", "fr", "ms", "mrs", "miss"})
_MEN = frozenset({"herr", "herrn", "hr", "mr"})
_ENGLISH = {"mrs": "Mrs", "miss": "Miss"}


def salutation_line(
    language: str, salutation: str | None, title: str | None, first_name: str | None, last_name: str | None
) -> str:
    """'Sehr geehrte Frau Dr. Muster', 'Dear Ms Muster'; 'Guten Tag Kim Muster' where the form of address is unknown.

    Every language but English is written in German. Without any name: 'Sehr geehrte Damen und Herren'.
    """
    form = (salutation or "").strip().rstrip(".*").casefold()
    names = (_tidy(title), _tidy(first_name), _tidy(last_name))
    return _english(form, *names) if is_english(language) else _german(form, *names)


def is_addressed(salutation: str | None, last_name: str | None) -> bool:
    """Whether the line can be formal: with form of address and last name; else it is neutral."""
    form = (salutation or "").strip().rstrip(".*").casefold()
    return bool(_tidy(last_name)) and form in _WOMEN | _MEN


# Asked for every letter, of a few tags.
@lru_cache(256)
def is_english(language: str) -> bool:
    """Whether the language tag ('en', 'en-GB') is English."""
    return language.strip().casefold().replace("_", "-").split("-")[0] == "en"


def _german(form: str, title: str, first: str, last: str) -> str:
    if last and form in _WOMEN:
        return _joined("Sehr geehrte Frau", title, last)
    if last and form in _MEN:
        return _joined("Sehr geehrter Herr", title, last)
    return (
        _joined("Guten Tag", title if last else "", first, last) if first or last else "Sehr geehrte Damen und Herren"
    )


def _english(form: str, title: str, first: str, last: str) -> str:
    academic = _english_title(title) if last else ""
    if last and form in _WOMEN | _MEN:
        honorific = _ENGLISH.get(form, "Ms" if form in _WOMEN else "Mr")
        return _joined("Dear", academic or honorific, last)
    return _joined("Dear", academic, first, last) if first or last else "Dear Sir or Madam"


def _english_title(title: str) -> str:
    # English letters carry one title, and only these two; 'Dipl.-Ing.' and the like are not said.
    words = title.casefold()
    return "Professor" if "prof" in words else "Dr" if "dr" in words else ""


def _tidy(text: str | None) -> str:
    return " ".join((text or "").split())


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)
