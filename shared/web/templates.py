"""Templates of a package, and its messages in a language."""

import gettext
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from babel.messages.pofile import read_po
from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["Catalog", "Environment", "environment_of"]


class Catalog(gettext.NullTranslations):
    """Messages of one language, from the `.po` files in a package's locale/LANGUAGE; what is missing stays English."""

    def __init__(self, package: str, language: str) -> None:
        super().__init__()
        self._texts: dict[str, str] = {}
        self._plurals: dict[str, tuple[str, ...]] = {}
        folder = files(package) / "locale" / language
        for file in sorted(folder.iterdir(), key=lambda one: one.name) if folder.is_dir() else ():
            if file.name.endswith(".po"):
                with file.open("rb") as stream:
                    self._take(read_po(stream, locale=language))

    def _take(self, messages: Any) -> None:
        for message in messages:
            if isinstance(message.id, tuple):
                self._plurals[message.id[0]] = tuple(message.string)
            elif message.id and message.string:
                self._texts[message.id] = message.string

    def gettext(self, message: str) -> str:
        """The message in this language."""
        return self._texts.get(message, message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        """One or many."""
        one, many = (*self._plurals.get(msgid1, ()), msgid1, msgid2)[:2]
        return one if n == 1 else many


def environment_of(package: str, catalog: Catalog, filters: Mapping[str, Callable[..., Any]]) -> Environment:
    """The package's templates, in the catalog's language; everything that is filled in is escaped."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
    )
    environment.install_gettext_translations(catalog, newstyle=True)  # type: ignore[attr-defined]
    environment.filters.update(filters)
    return environment
