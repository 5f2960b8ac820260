"""`python -m tests.data_generator --applications N --contacts-per-application K --out DIR --seed S`.

Invented people in any number, with the traps that real data has: duplicates with and without a set id, missing and
invalid addresses, 29 February, umlauts, names with quotes, markup, formulas and template syntax, contacts of the
person without an application. The same arguments give the same bytes. The statuses are those of the sample's setup.
"""

import argparse
import csv
import random
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

APPLICATION_COLUMNS = (
    *("external_id", "kind", "duplicate_set", "salutation", "title", "first_name", "last_name", "birth_date", "email"),
    *("phone", "street", "postal_code", "city", "country", "language", "vacancy", "department", "location", "source"),
    *("recruiter", "status", "received_on", "in_pool", "pool_since", "custom.fuehrerschein", "custom.skills"),
)
CONTACT_COLUMNS = ("external_id", "application", "person", "at", "medium", "direction", "subject", "body", "user")
#: The day as of which the people are invented: nothing depends on the calendar of the machine.
TODAY = date(2026, 11, 23)

_FIRST = (
    *("Anna", "Björn", "Çağla", "Dörte", "Emil", "Fatma", "Gülşen", "Hartmut", "Inés", "Jürgen", "Kaya", "Łukasz"),
    *("Mareike", "Nils", "Øyvind", "Pınar", "Quirin", "Renée", "Sören", "Thuý", "Uwe", "Věra", "Wiebke", "Zoë"),
)
_STEM = (
    *("Acker", "Bäcker", "Dörr", "Eich", "Förster", "Groß", "Hübner", "Jäger", "Köhler", "Lüders", "Müller", "Nuß"),
    *("Öztürk", "Prüß", "Rößler", "Schön", "Thür", "Übel", "Voß", "Weiß", "Yılmaz", "Zöllner"),
)
_ENDING = ("", "-Meier", "mann", "inger", " von der Aue", "sen", "-Þórsson", "berg", "ová", "dottir")
_TRICKY = ('O"Neill', "<b>Bold</b>", "{{ 7*7 }}", '=HYPERLINK("http://x")', "Zeile\nzwei", "Komma, Punkt; Strich")
_INVALID = ("max@", "a@b@c.example", "a b@c.example", "keine", "max.mustermann@firma..example", "@firma.example")
_CITY = ("München", "Köln", "Görlitz", "Soest", "Überlingen", "Bad Kreuznach", "Husum", "Zürich", "Graz")
_VACANCY = (
    "Pflegefachkraft (m/w/d)",
    "Elektroniker, Betriebstechnik",
    'Key Account "DACH"',
    "Ärztin/Arzt",
    "Initiativ",
)
_DEPARTMENT = ("Technik", "Vertrieb", "IT", "Medizin", "Pflege", "Finanzen")
_SOURCE = ("Jobportal", "Messe", "Empfehlung", "Post", "")
_RECRUITER = ("a.weber", "m.schulz", "k.yilmaz", "")
_STATUS = (
    *("Neu online", "Neu manuell", "Zustellung Fachbereich", "Interview vereinbart", "Angebot"),
    *("Absage ohne Gespräch", "Absage", "Eingestellt"),
)
_MEDIUM = ("form_letter_post", "form_letter_mail", "mail", "fax", "phone", "letter", "in_person", "note", "portal")
_DIRECTION = ("outgoing", "outgoing", "outgoing", "incoming", "incoming", "internal")
_SUBJECT = ("Eingangsbestätigung", "Einladung", "Rückfrage", "Telefonat", "Zwischenbescheid")
_LEAP_DAYS = tuple(date(year, 2, 29) for year in range(1956, 2008, 4))


def write_files(out: Path, applications: int, contacts_per_application: int, seed: int) -> tuple[Path, Path]:
    """Writes applications.csv and contacts.csv into `out`; memory does not grow with their number."""
    out.mkdir(parents=True, exist_ok=True)
    choice = random.Random(seed)
    paths = out / "applications.csv", out / "contacts.csv"
    with (
        paths[0].open("w", encoding="utf-8", newline="") as first,
        paths[1].open("w", encoding="utf-8", newline="") as second,
    ):
        people, contacts = csv.writer(first), csv.writer(second)
        people.writerow(APPLICATION_COLUMNS)
        contacts.writerow(CONTACT_COLUMNS)
        number = entry = 0
        while number < applications:
            rows = list(_person(choice, seed, number, applications))
            people.writerows(rows)
            for row in rows:
                for _ in range(_how_many(choice, contacts_per_application)):
                    entry += 1
                    contacts.writerow(_contact(choice, seed, entry, str(row[0]), str(row[2])))
            number += len(rows)
    return paths


def _person(choice: random.Random, seed: int, number: int, end: int) -> Iterator[Sequence[object]]:
    """The applications of one human being: mostly one, often with a set id, sometimes only alike."""
    draw = choice.random
    count = 1 if draw() < 0.75 else 2 + int(draw() * 4)
    duplicate_set = f"D-{seed}-{number}" if draw() < (0.1 if count == 1 else 0.7) else ""
    last_name = choice.choice(_TRICKY) if draw() < 0.002 else choice.choice(_STEM) + choice.choice(_ENDING)
    # A number makes equal names rare: only those of one person are to be alike.
    human = (
        choice.choice(("Frau", "Herr", "Divers", "")),
        choice.choice(("", "", "", "", "Dr.", "Prof. Dr.")),
        f"{choice.choice(_FIRST)} {number % 9973}",
        last_name,
        _birth_date(draw(), draw()),
        _address(draw(), number),
    )
    for position in range(min(count, end - number)):
        yield (f"B-{seed}-{number + position:07d}", *_application(choice, duplicate_set, human, number))


def _application(choice: random.Random, duplicate_set: str, human: Sequence[str], number: int) -> Sequence[object]:
    draw, pick = choice.random, choice.choice
    in_pool = draw() < 0.2
    received = TODAY - timedelta(days=int(draw() * 1500))
    kind = "pool" if in_pool else "other" if draw() < 0.03 else "application"
    phone = f"+49 {3000 + number % 5000} {number}" if draw() < 0.6 else ""
    where = (phone, f"Hövelstr. {number % 300}", f"{number % 100000:05d}", pick(_CITY), "DE")
    what = (pick(("de", "de", "de", "en", "")), pick(_VACANCY), pick(_DEPARTMENT), pick(_CITY), pick(_SOURCE))
    status = "Bewerber-Pool" if in_pool else pick(_STATUS)
    known = received.isoformat() if draw() < 0.99 else ""
    since = known if in_pool and draw() < 0.9 else ""
    custom = (pick(("ja", "nein", "")), pick(("Pflege", "Python, SQL", "SAP FI", "")))
    pool = "true" if in_pool else "false"
    return (kind, duplicate_set, *human, *where, *what, pick(_RECRUITER), status, known, pool, since, *custom)


def _birth_date(kind: float, when: float) -> str:
    if kind < 0.04:
        return ""
    if kind < 0.06:
        return _LEAP_DAYS[int(when * len(_LEAP_DAYS))].isoformat()
    return (date(1955, 1, 1) + timedelta(days=int(when * 19000))).isoformat()


def _address(kind: float, number: int) -> str:
    if kind < 0.09:
        return ""
    if kind < 0.11:
        return _INVALID[number % len(_INVALID)]
    return f"person{number}@müller-{number % 50}.example" if kind < 0.13 else f"p.{number}@mail{number % 9}.example"


def _how_many(choice: random.Random, mean: int) -> int:
    return int(choice.random() * (2 * mean + 1))


def _contact(choice: random.Random, seed: int, entry: int, external_id: str, duplicate_set: str) -> Sequence[str]:
    draw, pick = choice.random, choice.choice
    of_person = bool(duplicate_set) and draw() < 0.2
    at = datetime(2026, 11, 23, tzinfo=timezone(timedelta(hours=entry % 3))) - timedelta(
        minutes=int(draw() * 2_000_000)
    )
    owner = ("", duplicate_set) if of_person else (external_id, "")
    own_id = f"K-{seed}-{entry:08d}" if draw() < 0.95 else ""
    subject = f"{pick(_SUBJECT)} {entry}"
    body = "Guten Tag,\nvielen Dank." if draw() < 0.05 else ""
    return (own_id, *owner, at.isoformat(), pick(_MEDIUM), pick(_DIRECTION), subject, body, pick(_RECRUITER))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.data_generator", description=__doc__)
    parser.add_argument("--applications", type=int, default=100_000)
    parser.add_argument("--contacts-per-application", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for path in write_files(given.out, given.applications, given.contacts_per_application, given.seed):
        print(path)


if __name__ == "__main__":
    main()
