"""What a letter may name (D43): the documented placeholders, and the plain values that stand for them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from shared.domain.consent import DELETE_LINK, STAY_LINK
from shared.domain.text import fold
from shared.errors import KontaktpflegeError
from shared.records import record


class UnrenderableLetter(KontaktpflegeError):
    """The letter cannot be written from the data of this application; correct the data or the letter."""


class EmptyPlaceholder(UnrenderableLetter):
    """The letter needs a value that is unknown: fill it in, or test it with {% if %} or give it | default(...)."""

    def __init__(self, placeholder: str) -> None:
        super().__init__(f"placeholder {placeholder} is empty")
        self.placeholder = placeholder


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One name that a letter may use; `example` is a sample value, ISO for a date."""

    name: str
    meaning_en: str
    meaning_de: str
    example: str
    is_date: bool = False


@dataclass(frozen=True, slots=True)
class Sender:
    """Who a letter comes from: one usable address, and a display name that may be empty."""

    display_name: str
    email: str


CUSTOM = "application.custom."

PLACEHOLDERS: list[Placeholder] = [
    Placeholder("salutation_line", "salutation, never empty", "Anrede, nie leer", "Sehr geehrte Frau Dr. Muster"),
    Placeholder("applicant.salutation", "form of address", "Anredeform", "Frau"),
    Placeholder("applicant.title", "academic title", "akademischer Titel", "Dr."),
    Placeholder("applicant.first_name", "first name", "Vorname", "Erika"),
    Placeholder("applicant.last_name", "last name", "Nachname", "Muster"),
    Placeholder("applicant.full_name", "first and last name", "Vor- und Nachname", "Erika Muster"),
    Placeholder("applicant.birth_date", "date of birth", "Geburtsdatum", "1990-02-28", is_date=True),
    Placeholder("applicant.email", "e-mail address as given", "E-Mail-Adresse wie angegeben", "erika@muster.example"),
    Placeholder("applicant.phone", "telephone number", "Telefonnummer", "+49 40 123456"),
    Placeholder("applicant.street", "street and number", "Straße und Hausnummer", "Musterweg 1"),
    Placeholder("applicant.postal_code", "postal code", "Postleitzahl", "20095"),
    Placeholder("applicant.city", "city", "Ort", "Hamburg"),
    Placeholder("applicant.country", "country", "Land", "DE"),
    Placeholder("applicant.language", "language of the applicant", "Sprache der Person", "de"),
    Placeholder("application.external_id", "number of the application", "Bewerbungsnummer", "B-7-000001"),
    Placeholder("application.kind", "application, pool or other", "Art: application, pool oder other", "application"),
    Placeholder("application.vacancy", "vacancy", "Stelle", "Pflegefachkraft (m/w/d)"),
    Placeholder("application.department", "department", "Abteilung", "Technik"),
    Placeholder("application.location", "location", "Standort", "Hamburg"),
    Placeholder("application.source", "source", "Quelle", "Messe"),
    Placeholder("application.status", "status", "Bewerberstatus", "Neu online"),
    Placeholder("application.received_on", "date of receipt", "Eingangsdatum", "2026-11-05", is_date=True),
    Placeholder("application.pool_since", "in the pool since", "im Bewerber-Pool seit", "2026-11-05", is_date=True),
    Placeholder(f"{CUSTOM}NAME", "custom field NAME", "Zusatzfeld NAME", "2026-12-01"),
    Placeholder("recruiter.name", "login name of the recruiter", "Anmeldename Sachbearbeiter", "a.weber"),
    Placeholder("recruiter.display_name", "name of the recruiter", "Name Sachbearbeiter", "Anna Weber"),
    Placeholder("recruiter.email", "address of the recruiter", "Adresse Sachbearbeiter", "a.weber@firma.example"),
    Placeholder("sender.display_name", "name of the sender", "Name des Absenders", "Personalabteilung"),
    Placeholder("sender.email", "address of the sender", "Adresse des Absenders", "personal@firma.example"),
    Placeholder("company.name", "name of the company", "Name der Firma", "Firma GmbH"),
    Placeholder(
        "links.preferences",
        "link to the page on which candidates say how many letters they want",
        "Link zur Seite, auf der Bewerber sagen, wie viel Post sie möchten",
        "https://firma.example/p/beispiel",
    ),
    Placeholder(
        STAY_LINK,
        "link: stay in the pool (consent jobs)",
        "Link: im Pool bleiben (Einwilligungs-Aufträge)",
        "https://firma.example/consent/stay/beispiel",
    ),
    Placeholder(
        DELETE_LINK,
        "link: please delete me (consent jobs)",
        "Link: bitte löschen (Einwilligungs-Aufträge)",
        "https://firma.example/consent/delete/beispiel",
    ),
    Placeholder("today", "day of sending", "Tag des Versands", "2026-11-23", is_date=True),
]


@record
class LetterContext:
    """What one letter is written from; a missing key means unknown.

    `application` holds the columns by name, `status` as its name and `custom` as a mapping name -> value;
    `recruiter` holds name, display_name and email. `today` is the send day in the job's time zone.
    """

    application: Mapping[str, Any]
    recruiter: Mapping[str, Any] | None
    sender: Sender
    company_name: str | None
    today: date
    #: The recipient's own link that a placeholder of the group `links` stands for; None: letters have none.
    link: Callable[[str], str | None] | None = None

    def value(self, path: str) -> Any:
        """The plain value of a placeholder: str, date or None, never a row or an object with methods (S2)."""
        group, _, name = path.partition(".")
        match group:
            case "applicant" if name == "full_name":
                names = (self.application.get("first_name"), self.application.get("last_name"))
                return " ".join(name for name in names if name)
            case "application" if path.startswith(CUSTOM):
                return self._custom(path.removeprefix(CUSTOM))
            case "applicant" | "application":
                return self.application.get(name)
            case "recruiter":
                return (self.recruiter or {}).get(name)
            case "sender":
                return self.sender.email if name == "email" else self.sender.display_name
        return self._of_the_letter(group, path)

    def _of_the_letter(self, group: str, path: str) -> Any:
        if group == "links":
            return self.link(path) if self.link else None
        return self.company_name if group == "company" else self.today

    def _custom(self, name: str) -> Any:
        # Names of custom fields ignore case, like all names.
        fields = self.application.get("custom") or {}
        return {fold(given): value for given, value in fields.items()}.get(fold(name))


def sample_value(path: str) -> str | date:
    """The documented example of a placeholder, to try a letter out when it is saved."""
    name = f"{CUSTOM}NAME" if path.startswith(CUSTOM) else path
    placeholder = next(one for one in PLACEHOLDERS if one.name == name)
    return date.fromisoformat(placeholder.example) if placeholder.is_date else placeholder.example


def sample_link(path: str) -> str:
    """What stands for a link in a letter that belongs to no order: it leads nowhere."""
    return str(sample_value(path))
