"""YAML with line numbers; duplicate keys are refused, keys are texts, whatever YAML would make of them."""

from pathlib import Path
from typing import Any

import yaml

from shared.errors import InvalidInput


class Lined(dict[str, Any]):
    """A mapping that knows the line it begins in, and those of its keys."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class _Loader(yaml.SafeLoader):
    """Safe, and strict about keys."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Lined:
    found = Lined(node.start_mark.line + 1)
    own: set[str] = set()
    for key_node, _ in node.value:
        place = f"{loader.name}, line {key_node.start_mark.line + 1}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise InvalidInput(place, None, "a key must be a word")
        if key_node.value in own:
            raise InvalidInput(place, key_node.value, "the key is given twice")
        own.add(key_node.value)
    loader.flatten_mapping(node)  # `<<: *other` brings in what the mapping does not say itself
    for key_node, value_node in node.value:
        found[key_node.value] = loader.construct_object(value_node, deep=True)
        found.lines[key_node.value] = key_node.start_mark.line + 1
    return found


def _date(loader: _Loader, node: yaml.ScalarNode) -> Any:
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError:
        return node.value  # such as 30 February: whoever wants a date there refuses it, naming the place


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _date)


def read_yaml(path: Path) -> Lined:
    """The document of a file; raises InvalidInput naming file, line and fix."""
    document = _parsed(path.name, _text(path))
    if document is None:
        raise InvalidInput(path.name, "", "the file is empty")
    if not isinstance(document, Lined):
        raise InvalidInput(path.name, type(document).__name__, "the file must be a mapping with jobs, letters, ...")
    return document


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InvalidInput(str(path), path.name, "there is no such file") from None
    except OSError as exc:
        raise InvalidInput(str(path), path.name, f"cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise InvalidInput(str(path), f"byte {exc.start}", "the file is not UTF-8; save it as UTF-8") from exc


def _parsed(name: str, text: str) -> Any:
    try:
        loader = _Loader(text)
        loader.name = name
        return loader.get_single_data()
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise InvalidInput(f"{name}, line {line}", exc.problem, "is not valid YAML there") from exc
    except yaml.reader.ReaderError as exc:
        raise InvalidInput(name, f"character {exc.position}", "is not allowed in YAML") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise InvalidInput(name, str(exc), "is not valid YAML") from exc
