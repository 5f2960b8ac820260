"""YAML with line numbers, duplicate keys refused, and the times that YAML would read as numbers left as text."""

from pathlib import Path
from typing import Any

import yaml

from shared.errors import InvalidInput


class Lined(dict[str, Any]):
    """A mapping that knows the line it begins in."""

    line = 0


class _Loader(yaml.SafeLoader):
    """Safe, and strict about keys."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Lined:
    found = Lined()
    found.line = node.start_mark.line + 1
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            key = key_node.value  # `on` and `off` as keys are texts here
        if key in found:
            raise InvalidInput(f"line {key_node.start_mark.line + 1}", key, "the key is given twice")
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> Lined:
    """The document of a file; raises InvalidInput naming file, line and fix."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InvalidInput(str(path), path.name, "there is no such file") from None
    except OSError as exc:
        raise InvalidInput(str(path), path.name, f"cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError as exc:
        raise InvalidInput(str(path), f"byte {exc.start}", "the file is not UTF-8; save it as UTF-8") from None
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise InvalidInput(f"{path.name}, line {line}", exc.problem, "is not valid YAML there") from None
    except yaml.YAMLError as exc:
        raise InvalidInput(path.name, str(exc), "is not valid YAML") from None
    if not isinstance(document, Lined):
        raise InvalidInput(path.name, type(document).__name__, "the file must be a mapping with jobs, letters, ...")
    return document
