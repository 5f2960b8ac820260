"""Templates in two languages: gettext catalogs, dates and numbers as people of the language write them."""

import gettext
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from babel.messages.pofile import read_po
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response, StreamingResponse

from services.console.formats import formats_of
from services.console.notices import NOTICE_COOKIE, unpack
from services.console.words import words_of

if TYPE_CHECKING:
    from services.console.visits import Visit

LANGUAGES = ("de", "en")
#: Where the rows of a streamed page go. No text of a person can say it: it would be escaped.
ROWS_HERE = "<!-- rows -->"


class Catalog(gettext.NullTranslations):
    """Messages of one language, from its `.po` files; what is missing stays English."""

    def __init__(self, language: str) -> None:
        super().__init__()
        self._texts: dict[str, str] = {}
        self._plurals: dict[str, tuple[str, ...]] = {}
        folder = files("services.console") / "locale" / language
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


@lru_cache
def catalog_of(language: str) -> Catalog:
    """The catalog of a language, read once."""
    return Catalog(language)


class Renderer:
    """Renders templates; one environment for each language."""

    def __init__(self) -> None:
        self._environments = {language: _environment(language) for language in LANGUAGES}

    def text(self, language: str, message: str, **values: object) -> str:
        """A message in a language, with its values filled in (`%(name)s`)."""
        text = catalog_of(language).gettext(message)
        return text % values if values else text

    def response(self, visit: "Visit", template: str, status: int, values: Mapping[str, Any]) -> Response:
        """The page for one visit."""
        notice = unpack(visit.request.cookies.get(NOTICE_COOKIE, ""))
        response = HTMLResponse(self._filled(visit, template, {"notice": notice, **values}), status)
        if notice and not visit.is_partial:
            response.delete_cookie(NOTICE_COOKIE)
        return response

    def stream(
        self, visit: "Visit", template: str, values: Mapping[str, Any], part: str, lists: AsyncIterator[Any]
    ) -> Response:
        """A page that may be long: where its template says ROWS_HERE stands `part`, once for each list of `rows`."""
        head, _, foot = self._filled(visit, template, {"notice": "", **values}).partition(ROWS_HERE)

        async def pieces() -> AsyncIterator[str]:
            yield head
            async for rows in lists:
                yield self._filled(visit, part, {**values, "rows": rows})
            yield foot

        return StreamingResponse(pieces(), media_type="text/html")

    def _filled(self, visit: "Visit", template: str, values: Mapping[str, Any]) -> str:
        page = self._environments[visit.language].get_template(template)
        return page.render(visit=visit, url=visit.url, may=visit.may, language=visit.language, **values)


def _environment(language: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("services.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
    )
    catalog = catalog_of(language)
    environment.install_gettext_translations(catalog, newstyle=True)  # type: ignore[attr-defined]
    environment.filters.update(formats_of(language))
    environment.filters.update(words_of(catalog.gettext))
    return environment
