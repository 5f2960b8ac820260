"""Every message of the console: those that templates and code ask for, and those that its word lists name."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from babel.messages.extract import extract_from_dir

from services.console import refusals, sheets, words
from services.console.pages import history, job_words, order_record
from tests.architecture import ROOT

CONSOLE = ROOT / "services" / "console"
METHODS = [("templates/**.html", "jinja2.ext:babel_extract"), ("**.py", "python")]
#: `visit.text("...")`; `visit.go("/path", "...")`.
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "text": None, "go": (2,)}
OPTIONS = {"templates/**.html": {"extensions": "jinja2.ext.i18n,jinja2.ext.do", "trimmed": "false"}}


@cache
def asked_for() -> frozenset[str]:
    """Messages that a page shows for sure."""
    found: set[str] = set()
    extracted = extract_from_dir(str(CONSOLE), method_map=METHODS, options_map=OPTIONS, keywords=KEYWORDS)
    for _, _, message, _, _ in extracted:
        found.update([message] if isinstance(message, str) else [message[0]])
    listed = {*words.STATES.values(), *words.OTHERS.values(), *(message for _, message in refusals.REFUSALS)}
    listed.update({*refusals.NOUNS.values(), *refusals.METAS.values()})
    for word_list in (
        sheets.TITLES,
        sheets.HEADINGS,
        history.NOUNS,
        history.ACTIONS,
        history.FIELDS,
        history.SETTING_VALUES,
        job_words.FIELDS,
        job_words.VALUES,
        job_words.ACTIONS,
        order_record.ACTS,
        order_record.ANSWERS,
    ):
        listed.update(word_list.values())
    return frozenset((found | listed) - {""})


def not_written(messages: set[str]) -> set[str]:
    """Those of the messages that are no string of the console or of what it calls, where reasons are written.

    A string with values in it may be any text that fits it.
    """
    plain, patterns = _written()
    return {one for one in messages - plain if not any(pattern.fullmatch(one) for pattern in patterns)}


@cache
def _written() -> tuple[set[str], list[re.Pattern[str]]]:
    """All strings of the code, and patterns of those with values in them."""
    files: Iterator[Path] = (path for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py"))
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    plain = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return plain, [_pattern(node) for node in nodes if isinstance(node, ast.JoinedStr)]


def _pattern(node: ast.JoinedStr) -> re.Pattern[str]:
    parts = [re.escape(str(one.value)) if isinstance(one, ast.Constant) else ".+" for one in node.values]
    # A string of values alone fits everything, and says nothing.
    return re.compile("".join(parts) if any(len(part) > 6 and part != ".+" for part in parts) else "(?!)")
