"""Templates in two languages, with dates and numbers as people of the language write them."""

from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response, StreamingResponse

from services.console.formats import formats_of
from services.console.notices import NOTICE_COOKIE, unpack
from services.console.words import words_of
from shared.web.templates import Catalog, Environment, environment_of

if TYPE_CHECKING:
    from services.console.visits import Visit

LANGUAGES = ("de", "en")
#: Where the rows of a streamed page go. No text of a person can say it: it would be escaped.
ROWS_HERE = "<!-- rows -->"


@lru_cache
def catalog_of(language: str) -> Catalog:
    """The catalog of a language, read once."""
    return Catalog("services.console", language)


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
    catalog = catalog_of(language)
    return environment_of("services.console", catalog, {**formats_of(language), **words_of(catalog.gettext)})
