"""The letter editor's form: the letter's own language and one more, as fields of a setup file, and back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.console.pages.fixes import fix_of, line_of
from services.console.visits import Visit
from shared.domain.letter_layouts import Layout
from shared.domain.letter_writing import LetterForms, compile_forms
from shared.domain.letters import LetterText, compose_letter, language_of
from shared.errors import InvalidInput

#: Prefixes of the fields of the letter's own language and of the other one.
OWN, OTHER = "", "v-"
_PARTS = ("subject", "html", "text")
NEW: dict[str, Any] = {
    "language": "de",
    "subject": "",
    "html": "<p>{{ salutation_line }},</p>\n\n<p>Mit freundlichen Grüßen<br>{{ sender.display_name }}</p>",
    "text": None,
    "sets_status": None,
    "layout": None,
    "variants": None,
    "attachments": None,
}


@dataclass(slots=True)
class Draft:
    """A letter as it stands in the form; `errors` by name of the field."""

    fields: dict[str, Any]
    errors: dict[str, str]
    forms: LetterForms | None = None


def fields_of_form(visit: Visit, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as they were sent."""
    language = visit.field("language", "de") or "de"
    own = {part: _kept(visit.field(part), stored.get(part)) for part in _PARTS}
    variant = {part: visit.field(f"{OTHER}{part}") for part in _PARTS}
    old: Mapping[str, Any] = next(iter(stored.get("variants") or ()), {})
    variants = None
    if any(variant.values()):
        other = "en" if language_of(language) == "de" else "de"
        tag = old.get("language") if language_of(old.get("language")) == other else other
        variants = [{"language": tag, **{part: _kept(variant[part], old.get(part)) for part in _PARTS}}]
    return {
        "language": language,
        **own,
        "subject": own["subject"] or "",
        "sets_status": visit.field("sets_status") or None,
        "layout": visit.field("layout") or None,
        "variants": variants,
        "attachments": [one for one in visit.fields("attachment") if one] or None,
    }


def _kept(given: str, stored: str | None) -> str | None:
    """Blank lines around a text are no change."""
    return stored if stored is not None and stored.strip() == given else given or None


def draft_of(visit: Visit, fields: dict[str, Any], layout: Layout | None) -> Draft:
    """The fields, checked as at saving; every refusal beside its field."""
    draft = Draft(fields, {})
    texts = []
    for prefix, one in ((OWN, fields), *((OTHER, one) for one in fields["variants"] or ())):
        try:
            texts.append(_composed(one, layout))
        except InvalidInput as exc:
            draft.errors[prefix + _part(exc)] = refusal(visit, exc)
    if not draft.errors:
        draft.forms = compile_forms(texts, composed=True)
    return draft


def _composed(one: Mapping[str, Any], layout: Layout | None) -> LetterText:
    text = LetterText(one["subject"] or "", one["html"], one["text"], one["language"])
    return compose_letter("", text, layout)


def _part(exc: InvalidInput) -> str:
    found = re.search(r", (subject|html|text|language)\b", exc.place)
    return found.group(1) if found else "html"


def refusal(visit: Visit, exc: InvalidInput) -> str:
    """What is wrong and where: 'Zeile 3: ...'."""
    line, text = line_of(exc), fix_of(visit, exc)
    shown = exc.value if isinstance(exc.value, str) and exc.value.strip() and len(exc.value) < 90 else ""
    if line is None:
        return text
    if shown:
        return visit.text("line %(line)s, “%(value)s”: %(fix)s", line=line, value=shown, fix=text)
    return visit.text("line %(line)s: %(fix)s", line=line, fix=text)
