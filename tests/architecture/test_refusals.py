"""Whatever a service function refuses can be read in German: a new message without a translation fails here.

Found are the calls that make a refusal, with the texts that they may be given; values in a text are sampled.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product
from pathlib import Path

import pytest

from services.console.rendering import catalog_of
from services.console.words import translated_reason
from tests.architecture import ROOT

#: Which argument of a refusal is its text. `_refusal` makes one in the letter language.
TEXTS = {
    **dict.fromkeys(("Refused", "Forbidden", "ForeignForm", "TooLarge", "NotSignedIn"), 0),
    **dict.fromkeys(("InvalidInput", "RowError"), 2),
    "_refusal": 1,
}
#: The console reads no setup file and no environment, and talks to no broker.
NOT_REACHED = ("shared/bus", "shared/settings.py", "shared/setup/yaml_reader.py")
#: Where orders and runs get the reasons that they keep.
REASONED = ("shared/db/write_orders", "services/mailer", "services/scheduler", "services/evaluator")
#: A sample of any value: a number, a word and a name at once.
SAMPLE = "7"


def modules() -> list[Path]:
    folders = (ROOT / "shared", ROOT / "services" / "console")
    found = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return [path for path in found if not str(path.relative_to(ROOT)).startswith(NOT_REACHED)]


class Texts:
    """The texts that an expression of a function may have."""

    def __init__(self, function: ast.AST, module: ast.Module) -> None:
        self._function, self._module = function, module

    def of(self, node: ast.expr) -> set[str]:
        match node:
            case ast.Constant(value=str(text)):
                return {text}
            case ast.Constant():
                return {SAMPLE}
            case ast.JoinedStr(values=parts):
                return {"".join(found) for found in product(*(self._part(part) for part in parts))}
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return {"".join(found) for found in product(self.of(left), self.of(right))}
            case ast.IfExp(body=body, orelse=other):
                return self.of(body) | self.of(other)
            case ast.BoolOp(values=values):
                return set().union(*map(self.of, values))
            case ast.Name(id=name):
                return self._assigned(name)
            case ast.Subscript(value=ast.Name(id=name)):
                return self._of_table(name)
            case ast.Call(func=ast.Name(id="_nearest")):
                # The one function that ends a message.
                return {f"; did you mean '{SAMPLE}'?", f"; valid are {SAMPLE}"}
            case _:
                return {SAMPLE}

    def _part(self, part: ast.expr) -> Iterable[str]:
        if not isinstance(part, ast.FormattedValue):
            return self.of(part)
        if isinstance(part.value, ast.Name) and not part.format_spec and part.conversion == -1:
            return self._assigned(part.value.id)
        return {repr(SAMPLE) if part.conversion == ord("r") else SAMPLE}

    def _of_table(self, name: str) -> set[str]:
        tables = (node.value for node in self._module.body if isinstance(node, ast.Assign) and name in _targets(node))
        found = {
            text for table in tables if isinstance(table, ast.Dict) for one in table.values for text in self.of(one)
        }
        return found or {SAMPLE}

    def _assigned(self, name: str) -> set[str]:
        """What the function gives a variable; a sample where that is no text, or comes from outside."""
        given = [
            node.value
            for node in ast.walk(self._function)
            if isinstance(node, ast.Assign)
            and name in _targets(node)
            and isinstance(node.value, ast.Constant | ast.JoinedStr | ast.IfExp | ast.BinOp)
        ]
        return set().union(*map(self.of, given)) if given else {SAMPLE}


def refusals(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each refusal that a module words itself; what it passes on is worded where it began."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        for call in ast.walk(function):
            if not isinstance(call, ast.Call) or (place := TEXTS.get(_name(call))) is None or len(call.args) <= place:
                continue
            for text in Texts(function, tree).of(call.args[place]):
                if any(letter.isalpha() for letter in text):
                    yield call.lineno, text


def _targets(node: ast.Assign) -> set[str]:
    return {one.id for one in node.targets if isinstance(one, ast.Name)}


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def reasons(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of what a module writes into rows as the reason of something: people read it in the lists."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            for value in _reasons_at(node):
                for text in Texts(function, tree).of(value):
                    # A word alone is a name in the code.
                    if " " in text and any(letter.isalpha() for letter in text):
                        yield value.lineno, text


def _reasons_at(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.keyword(arg="reason", value=value):
            return [value]
        case ast.Dict(keys=keys, values=values):
            named = zip(keys, values, strict=True)
            return [value for key, value in named if isinstance(key, ast.Constant) and key.value == "reason"]
        case ast.Assign(value=value) if "reason" in _targets(node):
            return [value]
        case ast.Call(func=ast.Name(id="Change" | "Deferred" | "Unclear"), args=args):
            return args
        case ast.Tuple(elts=[_, ast.Constant(), value]):
            return [value]
        case _:
            return []


@lru_cache
def german(text: str) -> str:
    return translated_reason(text, catalog_of("de").gettext)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_refusal_has_german_words(path: Path) -> None:
    english = sorted({f"line {line}: {text}" for line, text in refusals(path) if german(text) == text})
    assert english == []


@pytest.mark.parametrize(
    "path",
    [path for folder in REASONED for path in sorted((ROOT / folder).rglob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_reason_that_rows_keep_has_german_words(path: Path) -> None:
    english = sorted({f"line {line}: {text}" for line, text in reasons(path) if german(text) == text})
    assert english == []


def test_a_reason_within_a_reason_is_told_in_german_too() -> None:
    invalid = "failed: query 'Neue', filter 1 (status): 'Nue': no such status; did you mean 'Neu'?"
    assert german(invalid) == "fehlgeschlagen: Nue: diesen Status gibt es nicht; meinten Sie Neu?"
    assert german("resend stopped: job deleted") == "nicht erneut gesendet: Auftrag gelöscht"


def test_the_walk_finds_what_there_is() -> None:
    found = {text for path in modules() for _, text in refusals(path)}
    assert len(found) > 150
    assert {
        "say why",
        "is given twice in this file; the first row is in line 7",
        "there is no such 7; did you mean '7'?",
        "unknown operator; valid are 7",
        "calls are not part of the letter language",
        "a job still uses it; give the job another one first",
    } <= found


def nouns() -> list[str]:
    """What the service functions say that there is none of."""
    calls = (node for path in modules() for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    firsts = [node.args[0] for node in calls if isinstance(node, ast.Call) and _name(node) == "NotFound"]
    return sorted({one.value for one in firsts if isinstance(one, ast.Constant)})


@pytest.mark.parametrize("noun", nouns())
def test_what_is_not_there_is_named_in_german(noun: str) -> None:
    told = german(f"there is no {noun} 'Gruß'; did you mean 'Grüße'?")
    assert "gibt es nicht" in told and "meinten Sie Grüße?" in told and noun not in told.split()
