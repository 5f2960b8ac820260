"""The page behind the two links of a consent letter: looking changes nothing, one button confirms (S25)."""

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from services.public.desk import Desk, field_of
from services.public.given_back import CONSENT
from services.public.rendering import filled, language_of, refusal, text
from shared.db.consent_answers import ERASED, answer_question, load_question
from shared.db.system_settings import load_system_settings
from shared.domain.consent import Answer
from shared.errors import NotFound, Refused
from shared.public_links import CONSENT_PURPOSES

#: What is said after an answer, and where there is none to give; the catalogs translate it.
NOTES = {
    "stay": "Thank you. You stay in our pool.",
    "delete": "We have your answer.",
    "unknown": "That was not understood. Nothing was changed.",
    ERASED: "Your data have been deleted already. Nothing can be changed any more.",
}


async def show_consent(desk: Desk, request: Request, form: FormData | None) -> Response:
    """One answer to one letter: shown, and with a POST of its button given. Raises NotFound for no genuine link."""
    given = request.path_params["answer"]
    if given not in {one.value for one in Answer}:
        raise NotFound("page", given)
    answer = Answer(given)
    order_id = desk.tokens.id_of(CONSENT_PURPOSES[answer], request.path_params["token"])
    if order_id is None:
        raise NotFound("order", None)
    status, note = 200, ""
    if form is not None:
        status, note = await _say(desk, order_id, answer, form)
    async with desk.database.read() as connection:
        try:
            question = await load_question(connection, order_id)
        except Refused:
            return refusal(request, 409, "no_question")
        company = (await load_system_settings(connection)).company
    said = text(language_of(request), NOTES[note]) if note else ""
    values = {"question": question, "answer": answer.value, "company": company, "note": said}
    return filled(request, "consent.html", status, values | {"is_error": status != 200})


async def _say(desk: Desk, order_id: int, answer: Answer, form: FormData) -> tuple[int, str]:
    # The button says it too: what posts to links without having read the page answers nothing.
    if field_of(form, "answer") != answer.value:
        return 400, "unknown"
    try:
        now, speaker = desk.clock.now(), await desk.speaker(order_id)
        found = await answer_question(desk.database, order_id, answer, now=now)
        await desk.note(speaker, CONSENT[answer], now, changed=found.changed)
    except Refused as exc:
        # What asks nothing is refused by the page itself.
        return 409, ERASED if str(exc) == ERASED else ""
    return 200, answer.value
