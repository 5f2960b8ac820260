"""Letters as they are saved and sent: layouts, languages, attachments, trials on real applications (D6, D43)."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from sqlalchemy import insert

from services.mailer.letters import Letters
from shared.db.attachment_store import LARGEST_FILE, NewFile, add_attachment, list_attachments, remove_attachment
from shared.db.letter_data import load_letter_version, load_users
from shared.db.letter_list import list_letters, show_letter
from shared.db.system_settings import load_system_settings
from shared.db.tables import contact_jobs, form_letter_versions, users
from shared.domain.text import fold
from shared.errors import InvalidInput, NotFound, Refused
from shared.setup import export_setup, read_setup
from tests.mail_server import MailServer
from tests.services.command_line import CommandLine
from tests.services.import_files import Files, lines
from tests.services.setup_files import apply, row, rows
from tests.services.world import DAY, JOB, MORNING, World

STYLED = """
layouts:
  - name: Haus
    html: "<style>p {color: red}</style><h1>Firma</h1>{{ content }}<p>Fuß</p>"
    text: "{{ content }}\\n-- \\nFirma"
letters:
  - name: Brief
    language: de
    subject: "Hallo {{ applicant.first_name }}"
    html: "<p>{{ salutation_line }}, {{ today | date }}</p>"
    layout: Haus
    attachments: [Datenschutz]
    variants:
      - {language: en, subject: "Hello {{ applicant.first_name }}", text: "{{ salutation_line }}, {{ today | date }}"}
"""
COLUMNS = "external_id,salutation,title,first_name,last_name,email,status,language,recruiter"
PEOPLE = (
    "D1,Frau,Dr.,Erika,Muster,d1@x.example,Neu,de-AT,a.weber",
    "E1,Herr,,John,Doe,e1@x.example,Neu,en-GB,",
    "F1,Divers,,Kim,Roy,f1@x.example,Neu,fr,x.unknown",
)


async def begin(world: World, styled: str = STYLED) -> None:
    await world.begin()
    file = NewFile("Datenschutz", "Hinweise zum Datenschutz ä.pdf", b"%PDF-1.4")
    assert await add_attachment(world.database, file, author="anna", now=MORNING)
    await apply(world.database, styled, now=MORNING)
    report = await Files(world.database, world.folder).applications(lines(COLUMNS, *PEOPLE))
    assert not report.bad_rows


async def mails(world: World, *order_ids: int) -> dict[str, EmailMessage]:
    """What would be sent, by application."""
    letters = Letters(None)
    found = {}
    for order in (await world.claim(*order_ids)).orders:
        async with world.database.read() as connection:
            writing = await letters.prepare(connection, [order], await load_system_settings(connection))
        message = message_from_bytes(letters.write(order, writing).content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        found[str(order.application["external_id"])] = message
    return found


def text_of(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


async def test_d43_each_applicant_gets_the_letter_in_their_language_or_else_its_own(world: World) -> None:
    await begin(world)
    await world.run()
    found = await mails(world, *await world.turn())
    assert {name: str(mail["Subject"]) for name, mail in found.items()} == {
        "D1": "Hallo Erika",
        "E1": "Hello John",
        "F1": "Hallo Kim",
    }
    assert "Sehr geehrte Frau Dr. Muster, 23.11.2026" in text_of(found["D1"])
    assert text_of(found["E1"]) == "Dear Mr Doe, 23 November 2026\n-- \nFirma\n"
    assert "Guten Tag Kim Roy, 23.11.2026" in text_of(found["F1"])


async def test_d43_the_layout_stands_around_and_its_styles_are_in_place_since_saving(world: World) -> None:
    await begin(world)
    (version,) = await rows(world.database, form_letter_versions, letter_id=1, version=2)
    assert [one["language"] for one in version["composed"]] == ["de", "en"]
    html = version["composed"][0]["html"]
    assert "<h1>Firma</h1>" in html and 'style="color: red' in html and "<style" not in html
    assert "{{ salutation_line }}" in html and "{{ content }}" not in html
    assert version["html"] == "<p>{{ salutation_line }}, {{ today | date }}</p>"


async def test_d43_attachments_go_with_every_language(world: World) -> None:
    await begin(world)
    await world.run()
    for mail in (await mails(world, *await world.turn())).values():
        (file,) = mail.iter_attachments()
        assert (file.get_filename(), file.get_payload(decode=True)) == ("Hinweise zum Datenschutz ä.pdf", b"%PDF-1.4")


async def test_d3_d43_a_changed_layout_makes_new_versions_and_is_in_the_history(world: World) -> None:
    await begin(world)
    before = (await row(world.database, contact_jobs, name=JOB))["epoch"]
    await apply(world.database, STYLED.replace("<h1>Firma</h1>", "<h1>Haus</h1>"), now=MORNING)
    assert (await row(world.database, contact_jobs, name=JOB))["epoch"] > before
    async with world.database.read() as connection:
        old, new = [await load_letter_version(connection, 1, version) for version in (2, 3)]
        shown = await show_letter(connection, "brief")
    assert "<h1>Firma</h1>" in str(old.texts[0].html) and "<h1>Haus</h1>" in str(new.texts[0].html)
    assert (shown["layout"], shown["version"]) == ("Haus", 3)
    changed = {(event["field"], event["author"]) for event in shown["history"] if event["action"] == "change"}
    assert {("layout", "anna"), ("html", "anna"), ("variants", "anna"), ("attachments", "anna")} <= changed


async def test_d43_the_setup_is_exported_and_read_back_without_a_difference(world: World, tmp_path: Path) -> None:
    await begin(world)
    await export_setup(world.database, tmp_path / "all.yaml")
    setup = read_setup(tmp_path / "all.yaml")
    assert [entry.name for entry in setup.layouts] == ["Haus"]
    difference = await apply(world.database, (tmp_path / "all.yaml").read_text(), now=MORNING)
    assert difference.records == []
    async with world.database.read() as connection:
        assert [one["languages"] for one in await list_letters(connection) if one["name"] == "Brief"] == ["de, en"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{{ content }}<p>Fuß</p>", "<p>Fuß</p>", "must contain {{ content }} exactly once"),
        ("{{ content }}<p>Fuß</p>", "{{ content }}{{ content }}", "must contain {{ content }} exactly once"),
        ("<h1>Firma</h1>", "{{ applicant.frist_name }}", "applicant.first_name"),
        ("<h1>Firma</h1>", "{% for x in y %}", "in its layout"),
        ("layout: Haus", "layout: Huas", "did you mean 'Haus'"),
        ("attachments: [Datenschutz]", "attachments: [Datenschuz]", "did you mean 'Datenschutz'"),
        ("{language: en,", "{language: de-CH,", "is given twice"),
        ("{language: en,", "{language: fr,", "must be de or en"),
        ("{language: en,", "{langage: en,", "did you mean 'language'"),
        ("Hello {{ applicant.first_name }}", "Hello {{ applicant.frist_name }}", "applicant.first_name"),
    ],
)
async def test_d43_what_could_not_be_sent_is_refused_and_nothing_is_saved(
    world: World, old: str, new: str, message: str
) -> None:
    await begin(world)
    versions = await world.count(form_letter_versions)
    with pytest.raises(InvalidInput, match=message.replace("{", "\\{")):
        await apply(world.database, STYLED.replace(old, new), now=MORNING)
    assert await world.count(form_letter_versions) == versions


async def test_d43_saving_tries_the_letter_on_those_whom_its_jobs_choose(world: World) -> None:
    await begin(world)
    changed = STYLED.replace("<p>{{ salutation_line }}", "<p>{{ application.vacancy }} {{ applicant.title }}")
    for dry_run in (True, False):
        difference = await apply(world.database, changed, now=MORNING, dry_run=dry_run)
        (warning,) = difference.warnings
        # E1 gets the English letter, which names neither.
        assert "letter 'Brief': 2 of 3 sample applications would fail: " in warning
        assert "D1: placeholder application.vacancy is empty" in warning


async def test_d43_a_stored_file_never_changes_and_is_bounded(world: World) -> None:
    await begin(world)

    async def add(content: bytes, name: str = "datenschutz") -> bool:
        return await add_attachment(world.database, NewFile(name, "a.pdf", content), author="anna", now=MORNING)

    assert not await add(b"%PDF-1.4")
    with pytest.raises(Refused, match="exists with other content"):
        await add(b"%PDF-1.5")
    with pytest.raises(InvalidInput, match=f"must have 1 to {LARGEST_FILE} bytes"):
        await add(bytes(LARGEST_FILE + 1), "Groß")
    with pytest.raises(InvalidInput, match="0 bytes"):
        await add(b"", "Leer")
    for name in ("Eins", "Zwei", "Drei"):
        await add(bytes(4_000_000), name)
    with pytest.raises(InvalidInput, match="12000000 bytes together; at most 10000000"):
        await apply(world.database, STYLED.replace("[Datenschutz]", "[Eins, Zwei, Drei]"), now=MORNING)
    with pytest.raises(Refused, match="belongs to a version of letter 'Brief'"):
        await remove_attachment(world.database, "Datenschutz", author="anna", now=MORNING)
    await remove_attachment(world.database, "eins", author="anna", now=MORNING)
    async with world.database.read() as connection:
        assert [one["id"] for one in await list_attachments(connection)] == ["Datenschutz", "Drei", "Zwei"]
    with pytest.raises(NotFound):
        await remove_attachment(world.database, "eins", author="anna", now=MORNING)


async def test_i12_d43_a_version_of_an_earlier_release_is_composed_when_it_is_loaded(world: World) -> None:
    await world.queued()
    async with world.database.begin() as connection:
        await connection.execute(form_letter_versions.update().values(composed=None))
    async with world.database.read() as connection:
        stored = await load_letter_version(connection, 1, 1)
    assert not stored.composed
    (message,) = (await mails(world, *[one["id"] for one in await world.rows(DAY)])).values()
    assert text_of(message) == "Guten Tag Eins\n"


@pytest.mark.parametrize(
    ("sender", "fallback", "expected"),
    [
        ("recruiter", "", {"D1": "a.weber@firma.example", "E1": "hr@firma.example", "F1": "hr@firma.example"}),
        ("recruiter", "address:jobs@firma.example", {"D1": "a.weber@firma.example", "E1": "jobs@firma.example"}),
        ("user:a.weber", "", {"D1": "a.weber@firma.example", "F1": "a.weber@firma.example"}),
        ("Jobs <jobs@firma.example>", "", {"D1": "jobs@firma.example", "E1": "jobs@firma.example"}),
    ],
)
async def test_d6_the_sender_is_the_recruiter_a_user_or_an_address_else_the_systems(
    world: World, sender: str, fallback: str, expected: dict[str, str]
) -> None:
    await begin(world)
    await world.change(sender=sender, sender_fallback=fallback)
    await world.run()
    found = await mails(world, *await world.turn())
    senders = {name: mail["From"].addresses[0].addr_spec for name, mail in found.items()}
    assert {name: senders[name] for name in expected} == expected


def test_d43_letters_are_previewed_and_tested_from_the_command_line(cli: CommandLine, smtp: MailServer) -> None:
    preview = cli("job", "preview", "Grüße", "A1", "--json")
    assert preview.code == 0 and '"subject": "Alles Gute"' in preview.out and '"to": null' in preview.out
    before = cli.dump()
    sent = cli("job", "test", "Grüße", "--to", "t@firma.example", "--as", "A1", SMTP_URL=smtp.oracle.url)
    assert sent.code == 0, sent.err
    (mail,) = smtp.accepted
    message = message_from_bytes(mail.content, policy=policy.default)
    assert mail.recipient == "t@firma.example" and message["X-Kontaktpflege-Test"] == "1"
    assert str(message["Subject"]) == "[Test] Alles Gute" and message["X-Kontaktpflege-Order"] is None
    # No order, status or contact entry: only who sent whose data to which domain, without the tester's address (D3).
    noted = [line for line in cli.dump() if line not in before and "unsealed_events" not in line]
    assert all("events" in line and "test_mail" in line for line in noted)
    assert "'A1'" in noted[0] and "...@firma.example" in noted[1] and "t@firma" not in str(noted)
    assert "is not a valid e-mail address" in cli.says_one_line("job", "test", "Grüße", "--to", "t@")
    assert "there is no application 'A9'" in cli.says_one_line("job", "preview", "Grüße", "A9")
    assert "cannot" in cli("job", "test", "Grüße", "--to", "t@x.example", SMTP_URL="smtp://127.0.0.1:1").err


def test_d43_the_placeholders_are_documented(cli: CommandLine) -> None:
    table, document = cli("letter", "placeholders"), cli("letter", "placeholders", "--json")
    for name in ("applicant.first_name", "salutation_line", "application.custom.NAME", "date"):
        assert name in table.out and name in document.out
    assert cli("letter", "list").code == cli("letter", "show", "Geburtstag").code == 0
    assert "no such file" in cli.says_one_line("attachment", "add", "nix.pdf", "--id", "x").lower()
    cli.file("a.pdf", b"%PDF")
    assert "stored, 4 bytes" in cli("attachment", "add", "a.pdf", "--id", "x").out
    assert '"id": "x"' in cli("attachment", "list", "--json").out and "removed" in cli("attachment", "remove", "x").out


async def test_users_are_found_by_whatever_name_they_have(world: World) -> None:
    await world.begin()
    names = ["a,b", 'O\'Brien "Pat"', "{x}", "back\\slash", "NULL", "Größe", " "]
    given = [{"name": one, "name_folded": fold(one), "display_name": one, "role": "edit"} for one in names]
    async with world.database.begin() as connection:
        await connection.execute(insert(users), given)
    async with world.database.read() as connection:
        for some in (names, [], ["a"], names[:1]):
            found = await load_users(connection, some)
            assert {one.name for one in found.values()} == set(some) & set(names)
            assert found.keys() == {fold(one) for one in some if one in names}
