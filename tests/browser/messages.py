"""Every message of the console: those that templates and code ask for, and those that its word lists name."""

import ast
from collections.abc import Iterator
from pathlib import Path

from babel.messages.extract import extract_from_dir

from services.console import words
from tests.architecture import ROOT

CONSOLE = ROOT / "services" / "console"
METHODS = [("templates/**.html", "jinja2.ext:babel_extract"), ("**.py", "python")]
#: `visit.text("...")`; `visit.go("/path", "...")`.
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "text": None, "go": (2,)}
OPTIONS = {"templates/**.html": {"extensions": "jinja2.ext.i18n,jinja2.ext.do", "trimmed": "false"}}


def asked_for() -> set[str]:
    """Messages that a page shows for sure."""
    found: set[str] = set()
    extracted = extract_from_dir(str(CONSOLE), method_map=METHODS, options_map=OPTIONS, keywords=KEYWORDS)
    for _, _, message, _, _ in extracted:
        found.update([message] if isinstance(message, str) else [message[0]])
    listed = {*words.STATES.values(), *words.OTHERS.values(), *(message for _, message in words.REASONS)}
    return (found | listed) - {""}


def written_in_code() -> set[str]:
    """Every string of the console and of what it calls: reasons and refusals are translated as they come."""
    files: Iterator[Path] = (path for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py"))
    return {
        node.value
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
