"""The letter language (D43, S1-S3): an allow-list over Jinja2's syntax tree. The only importer of jinja2.

A letter is output, `if`, comparisons and the listed filters over documented placeholders. What is allowed is
rewritten: each placeholder becomes one flat name, so a checked letter reads no attribute and calls nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import TypeVar, cast

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import escape

from shared.domain.letter_values import CONTROL, filters
from shared.domain.placeholders import CUSTOM, PLACEHOLDERS
from shared.errors import InvalidInput

#: Bounds of a part of a letter: characters, outputs, tests, nesting, choices in a list.
LONGEST_PART = 300_000
MOST_OUTPUTS = 500
MOST_TESTS = 200
DEEPEST = 20
LONGEST_LIST = 100

_ORDERING = frozenset({"lt", "lteq", "gt", "gteq"})
_DATES = frozenset(placeholder.name for placeholder in PLACEHOLDERS if placeholder.is_date)
_NAMES = frozenset(placeholder.name for placeholder in PLACEHOLDERS) - {f"{CUSTOM}NAME"}
_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Part:
    """One checked and compiled part of a letter; `paths` maps each flat name to its placeholder."""

    template: Template
    paths: Mapping[str, str]
    #: Texts, and how the value of a flat name is written; None for a part that does more than to name placeholders.
    pieces: tuple[tuple[str, str | None], ...] | None
    write: Callable[[object], str]

    def render(self, values: Mapping[str, object]) -> str:
        """The text with the values (of `letter_value`, by flat name) filled in; raises UnrenderableLetter."""
        if self.pieces is not None:
            write = self.write
            return "".join([text if name is None else write(values[name]) for text, name in self.pieces])
        # Not `render`: it copies the values, and rewrites the traceback of what a filter raises on purpose.
        return "".join(self.template.root_render_func(self.template.new_context(values, shared=True)))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a part's source: kind 'data', 'output', 'block' (then `word` is its first word) or 'other'."""

    kind: str
    text: str
    line: int
    word: str = ""


def compile_part(place: str, source: str, language: str, html: bool) -> Part:
    """Checks one part against the letter language and compiles it; raises InvalidInput naming place and line."""
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=html, keep_trailing_newline=True)
    # Out of reach already for a checked letter; a second wall costs nothing (S2).
    environment.globals.clear()
    environment.tests.clear()
    environment.filters.clear()
    environment.filters.update(filters(language))
    _bound(place, source)
    tree = _translated(place, source, lambda: environment.parse(source))
    checker = _Checker(place, source)
    _translated(place, source, lambda: checker.statements(tree.body, 0))
    template = environment.from_string(tree)
    # A plain mapping in the place of a chain of empty ones, which every rendering would walk.
    template.globals = {}
    return Part(template, checker.paths, _pieces(tree), escape if html else str)


def _pieces(tree: nodes.Template) -> tuple[tuple[str, str | None], ...] | None:
    """The part as texts and names, if there is nothing else in it: that is joined in a tenth of the time."""
    found: list[tuple[str, str | None]] = []
    for node in tree.body:
        if not isinstance(node, nodes.Output):
            return None
        for one in node.nodes:
            if isinstance(one, nodes.TemplateData):
                found.append((one.data, None))
            elif isinstance(one, nodes.Name):
                found.append(("", one.name))
            else:
                return None
    return tuple(found)


def segments(place: str, source: str) -> Iterator[Segment]:
    """The source cut at its tags; raises InvalidInput on a syntax error."""
    _bound(place, source)
    opened: list[str] = []
    word, start = "", 1
    for line, kind, text in _tokens(place, source):
        if kind in ("data", "raw_begin", "raw_end"):
            yield Segment("data" if kind == "data" else "other", text, line)
            continue
        if kind in ("variable_begin", "block_begin", "comment_begin"):
            opened, word, start = [], "", line
        word = word or (text if kind == "name" else "")
        opened.append(text)
        if kind in ("variable_end", "block_end", "comment_end"):
            yield Segment(
                {"variable_end": "output", "block_end": "block"}.get(kind, "other"), "".join(opened), start, word
            )


def _tokens(place: str, source: str) -> list[tuple[int, str, str]]:
    environment = ImmutableSandboxedEnvironment(keep_trailing_newline=True)
    return _translated(place, source, lambda: list(environment.lex(source)))


def flat_name(path: str) -> str:
    """The one variable that stands for a placeholder in a compiled letter."""
    return "p" + path.encode().hex()


def _bound(place: str, source: str) -> None:
    if len(source) > LONGEST_PART:
        raise InvalidInput(place, f"{len(source)} characters", f"a part has at most {LONGEST_PART} characters")
    if control := CONTROL.search(source):
        line = source.count("\n", 0, control.start()) + 1
        raise InvalidInput(f"{place}, line {line}", control.group(), "remove the control character")


def _translated(place: str, source: str, read: Callable[[], _Read]) -> _Read:
    try:
        return read()
    except TemplateSyntaxError as exc:
        line = (source.splitlines() or [""])[exc.lineno - 1 :][:1]
        raise InvalidInput(f"{place}, line {exc.lineno}", _short("".join(line)), exc.message or "syntax error") from exc
    except (ValueError, RecursionError) as exc:
        # A number of thousands of digits (a hexadecimal one is read, and not written), or thousands of parentheses.
        raise InvalidInput(place, _short(source), "write simpler expressions") from exc


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:79] + "…"


class _Checker:
    """Walks one syntax tree, refuses what is not listed, and puts flat names in the place of placeholders."""

    def __init__(self, place: str, source: str) -> None:
        self.paths: dict[str, str] = {}
        self._place, self._lines = place, source.splitlines()
        self._outputs = self._tests = 0

    def statements(self, body: Sequence[nodes.Node], depth: int) -> None:
        for node in body:
            self._bound_depth(node, depth)
            match node:
                case nodes.Output():
                    node.nodes = [self._output(one) for one in node.nodes]
                case nodes.If():
                    self._if(node, depth)
                case nodes.For():
                    raise self._refusal(node, "no placeholder is a list, so there is nothing to loop over")
                case _:
                    raise self._refusal(
                        node, "not part of the letter language: write {{ placeholder }} or {% if ... %}"
                    )

    def _if(self, node: nodes.If, depth: int) -> None:
        self._tests += 1
        if self._tests > MOST_TESTS:
            raise self._refusal(node, f"a part has at most {MOST_TESTS} tests")
        node.test = self._test(cast(nodes.Expr, node.test), depth)
        self.statements(node.body, depth + 1)
        # `elif` branches stand side by side, not inside each other.
        self.statements(node.elif_, depth)
        self.statements(node.else_, depth + 1)

    def _output(self, node: nodes.Expr) -> nodes.Expr:
        if isinstance(node, nodes.TemplateData):
            return node
        self._outputs += 1
        if self._outputs > MOST_OUTPUTS:
            raise self._refusal(node, f"a part has at most {MOST_OUTPUTS} placeholders")
        return self._value(node, 0)

    def _test(self, node: nodes.Expr, depth: int) -> nodes.Expr:
        self._bound_depth(node, depth)
        match node:
            case nodes.And() | nodes.Or():
                node.left, node.right = self._test(node.left, depth + 1), self._test(node.right, depth + 1)
            case nodes.Not():
                node.node = self._test(node.node, depth + 1)
            case nodes.Compare(ops=[nodes.Operand() as operand]):
                self._compare(node, operand, depth + 1)
            case nodes.Compare():
                raise self._refusal(node, "compare two values at a time and join the comparisons with `and`")
            case nodes.Test():
                raise self._refusal(node, "`is` is not part of the letter language: write {% if placeholder %}")
            case _:
                return self._value(node, depth)
        return node

    def _compare(self, node: nodes.Compare, operand: nodes.Operand, depth: int) -> None:
        dates = [one for one in (node.expr, operand.expr) if _is_date(one)]
        if operand.op in _ORDERING and not dates:
            raise self._refusal(node, "only dates have an order; compare texts with ==, != or in")
        if operand.op in ("in", "notin"):
            self._check_in(node.expr, operand.expr)
        for one in _literals(node.expr, operand.expr) if dates else ():
            if not _is_iso(one.value):
                raise self._refusal(node, 'a date is compared with a date like "2026-11-23"')
        if dates and not all(_is_date(one) or _literals(one) for one in (node.expr, operand.expr)):
            raise self._refusal(node, 'a date is compared with a date like "2026-11-23"')
        node.expr = self._value(node.expr, depth)
        if not isinstance(operand.expr, nodes.Tuple | nodes.List):
            operand.expr = self._value(operand.expr, depth)

    def _check_in(self, left: nodes.Expr, right: nodes.Expr) -> None:
        if isinstance(right, nodes.Tuple | nodes.List):
            texts = [isinstance(one, nodes.Const) and isinstance(one.value, str) for one in right.items]
            if not all(texts) or not 0 < len(texts) <= LONGEST_LIST:
                raise self._refusal(right, f"give a list of 1 to {LONGEST_LIST} texts in quotes")
        elif not isinstance(left, nodes.Const) or isinstance(right, nodes.Const) or _is_date(right):
            raise self._refusal(left, 'write placeholder in ["one", "two"], or "part" in placeholder')

    def _value(self, node: nodes.Expr, depth: int) -> nodes.Expr:
        self._bound_depth(node, depth)
        match node:
            case nodes.Const(value=bool() | None):
                raise self._refusal(node, "true, false and none are no texts")
            case nodes.Const(value=str() | int()) if not CONTROL.search(str(node.value)):
                return nodes.Const(str(node.value), lineno=node.lineno, environment=node.environment)
            case nodes.Name() | nodes.Getattr() | nodes.Getitem():
                return self._placeholder(node)
            case nodes.Filter(node=nodes.Expr() as inner):
                self._check_filter(node, inner)
                node.args = node.args[:1]
                if node.name == "default":
                    node.args = [self._value(node.args[0], depth + 1)]
                node.node = self._value(inner, depth + 1)
                return node
            case nodes.Call():
                raise self._refusal(node, "calls are not part of the letter language")
            case _:
                raise self._refusal(node, "only placeholders, texts in quotes and filters can be written")

    def _placeholder(self, node: nodes.Expr) -> nodes.Expr:
        path = _path(node)
        custom = path is not None and path.startswith(CUSTOM) and path.removeprefix(CUSTOM).strip()[:1] not in ("", "_")
        if path is None:
            raise self._refusal(node, "only documented placeholders can be named, such as applicant.first_name")
        if not custom and path not in _NAMES:
            nearest = get_close_matches(path, [*_NAMES, f"{CUSTOM}NAME"], 1, cutoff=0.5)
            hint = f"did you mean {nearest[0]}?" if nearest else "see `kontaktpflege letter placeholders`"
            raise self._refusal(node, f"unknown placeholder {path}; {hint}", path)
        self.paths[flat_name(path)] = path
        return nodes.Name(flat_name(path), "load", lineno=node.lineno, environment=node.environment)

    def _check_filter(self, node: nodes.Filter, inner: nodes.Expr) -> None:
        known = sorted(filters("de"))
        if node.name not in known:
            nearest = get_close_matches(node.name, known, 1, cutoff=0.5)
            hint = f"did you mean {nearest[0]}?" if nearest else f"valid are {', '.join(known)}"
            raise self._refusal(node, f"unknown filter {node.name}; {hint}", node.name)
        given = [one.value if isinstance(one, nodes.Const) else one for one in node.args]
        if node.kwargs or node.dyn_args or node.dyn_kwargs or len(given) > 2:
            raise self._refusal(node, f"the filter {node.name} takes no such arguments", node.name)
        if node.name == "default":
            if not given or (len(given) == 2 and not isinstance(given[1], bool)):
                raise self._refusal(node, 'write | default("text")', node.name)
        elif given and (node.name != "date" or given not in (["long"], ["short"])):
            raise self._refusal(node, 'only date takes an argument: | date("long")', node.name)
        if node.name == "date" and not _may_be_date(inner):
            raise self._refusal(node, "the filter date needs a placeholder that is a date", node.name)

    def _bound_depth(self, node: nodes.Node, depth: int) -> None:
        if depth > DEEPEST:
            raise self._refusal(node, f"nested more than {DEEPEST} deep; write it simpler")

    def _refusal(self, node: nodes.Node, fix: str, value: str | None = None) -> InvalidInput:
        # `autoescape` is wrapped in a node without a line; what it wraps has one.
        line = next((one.lineno for one in (node, *node.iter_child_nodes()) if one.lineno), 1)
        return InvalidInput(f"{self._place}, line {line}", value or _short("".join(self._lines[line - 1 : line])), fix)


def _path(node: nodes.Node) -> str | None:
    parts: list[str] = []
    while isinstance(node, nodes.Getattr) and len(parts) < 3:
        parts.append(node.attr)
        node = node.node
    if isinstance(node, nodes.Getitem) and not parts and isinstance(node.arg, nodes.Const):
        inside = _path(node.node) if isinstance(node.node, nodes.Getattr) else None
        return f"{CUSTOM}{node.arg.value}" if f"{inside}." == CUSTOM and isinstance(node.arg.value, str) else None
    return ".".join([node.name, *reversed(parts)]) if isinstance(node, nodes.Name) and len(parts) < 3 else None


def _innermost(node: nodes.Node, through: frozenset[str]) -> nodes.Node:
    # Never deeper than the tree is allowed to be: a chain beyond is refused when the value itself is checked.
    for _ in range(DEEPEST):
        if not (isinstance(node, nodes.Filter) and node.name in through and node.node):
            break
        node = node.node
    return node


def _is_date(node: nodes.Node) -> bool:
    return _path(_innermost(node, frozenset({"default"}))) in _DATES


def _may_be_date(node: nodes.Node) -> bool:
    path = _path(_innermost(node, frozenset({"default", "trim"}))) or ""
    return path in _DATES or path.startswith(CUSTOM)


def _literals(*sides: nodes.Node) -> list[nodes.Const]:
    listed = [one for side in sides for one in (side.items if isinstance(side, nodes.Tuple | nodes.List) else [side])]
    return [one for one in listed if isinstance(one, nodes.Const)]


def _is_iso(value: object) -> bool:
    try:
        return date.fromisoformat(str(value)).isoformat() == value
    except ValueError:
        return False
