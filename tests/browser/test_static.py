"""Texts, templates and vendored files of the console, without a browser."""

import ast
import hashlib
import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from services.console.words import OTHERS
from services.public.consent import NOTES as CONSENT_NOTES
from services.public.rendering import NOTES, REFUSALS
from tests.browser.messages import CONSOLE, METHODS, OPTIONS, asked_for, not_written

CATALOGS = sorted((CONSOLE / "locale" / "de").glob("*.po"))
PUBLIC = CONSOLE.parent / "public"
TEMPLATES = sorted((CONSOLE / "templates").rglob("*.html"))
#: Of a page without a session, whose links are keys: its forms have no token.
PUBLIC_TEMPLATES = sorted((PUBLIC / "templates").rglob("*.html"))
_PLACES = re.compile(r"%\((\w+)\)[sd]")


def messages(path: Path) -> dict[str, list[str]]:
    """Message and its translations."""
    with path.open("rb") as stream:
        found = [one for one in read_po(stream, locale="de") if one.id]
    return {
        one.id if isinstance(one.id, str) else one.id[0]: [one.string] if isinstance(one.string, str) else [*one.string]
        for one in found
    }


def test_every_message_has_a_german_translation() -> None:
    translated = {message for path in CATALOGS for message, texts in messages(path).items() if all(texts)}
    assert sorted(asked_for() - translated) == []


def test_no_catalog_holds_a_message_that_nothing_says() -> None:
    for path in CATALOGS:
        assert sorted(not_written(set(messages(path)) - asked_for())) == [], path.name


def test_translations_have_the_places_of_their_messages() -> None:
    for path in CATALOGS:
        for message, texts in messages(path).items():
            for text in texts:
                assert set(_PLACES.findall(text)) <= {*_PLACES.findall(message), "num"}, (path.name, message)


def test_two_catalogs_say_the_same_of_one_message() -> None:
    said: dict[str, dict[str, list[str]]] = {}
    for path in CATALOGS:
        for message, texts in messages(path).items():
            said.setdefault(message, {})[path.name] = texts
    assert {one: texts for one, texts in said.items() if len({tuple(text) for text in texts.values()}) > 1} == {}


def test_roles_have_words() -> None:
    assert {"view", "operate", "edit", "admin"} <= set(OTHERS)


def test_the_candidates_page_is_in_german_too() -> None:
    found = extract_from_dir(str(PUBLIC), method_map=METHODS, options_map=OPTIONS, keywords={"_": None})
    asked = {str(one[2]) for one in found} | {*NOTES.values(), *CONSENT_NOTES.values(), *REFUSALS.values()}
    catalogs = [messages(path) for path in sorted((PUBLIC / "locale" / "de").glob("*.po"))]
    translated = {message: texts for catalog in catalogs for message, texts in catalog.items()}
    assert len(translated) == sum(map(len, catalogs))
    assert sorted(asked - translated.keys()) == [] and all(all(texts) for texts in translated.values())
    assert sorted(not_written(set(translated) - asked)) == []
    for message, (text,) in translated.items():
        assert set(_PLACES.findall(text)) == set(_PLACES.findall(message)), message


@pytest.mark.parametrize("path", [*TEMPLATES, *PUBLIC_TEMPLATES], ids=lambda path: f"{path.parts[-3]}/{path.name}")
def test_templates_have_no_script_or_style_of_their_own(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>|<style\b|javascript:", text, re.IGNORECASE) == []
    assert re.findall(r"\s(?:style|on\w+|hx-on[\w:-]*|hx-vals)\s*=", text, re.IGNORECASE) == []
    assert re.findall(r"(?:src|href|action)=[\"']https?:", text, re.IGNORECASE) == []
    for form in re.findall(r"<form\b[^>]*method=\"post\".*?</form>", text, re.IGNORECASE | re.DOTALL):
        assert "csrf()" in form or path in PUBLIC_TEMPLATES, form[:120]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_table_heads_have_a_scope(path: Path) -> None:
    assert re.findall(r"<th\b(?![^>]*\bscope=)[^>]*>", path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "folder", [CONSOLE / "static" / "vendor", Path(__file__).parent / "vendor"], ids=("console", "tests")
)
def test_vendored_files_are_those_of_the_list(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").split("\n")
    sums = {name.strip(" *"): digest for digest, _, name in (line.partition(" ") for line in lines if line)}
    files = {path.name for path in folder.iterdir()} - {"SHA256SUMS", "README.md"}
    assert set(sums) == files
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_handlers_change_nothing_on_get() -> None:
    """By name: what takes a form is `take_...`, and is listed with POST."""
    for path in (CONSOLE / "pages").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Page":
                handler = call.args[1]
                if isinstance(handler, ast.Name) and handler.id.startswith("take_"):
                    methods = ast.literal_eval(call.args[3]) if len(call.args) > 3 else ("GET",)
                    assert methods == ("POST",), (path.name, handler.id)
