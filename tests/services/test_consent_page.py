"""The page behind a consent letter's links: looking changes nothing, each link gives its own answer only (S25)."""

from datetime import timedelta

import pytest

from services.public.consent import NOTES
from services.public.rendering import LANGUAGES, REFUSALS, text
from shared.db.consent_answers import ERASED
from shared.domain.consent import CONSENT_LINKS, Answer
from shared.domain.link_tokens import Purpose
from shared.public_links import CONSENT_PURPOSES, PublicLinks
from tests.services.consent_world import CONSENT, SILENCE, asked, night, question, with_setting
from tests.services.test_public_page import candidate, everything, tokens
from tests.services.world import World


def link(order: int, answer: str) -> str:
    return PublicLinks("", tokens()).consent(order, f"links.{answer}")


@pytest.mark.parametrize("answer", list(Answer))
async def test_s25_looking_at_a_consent_link_changes_nothing(world: World, answer: str) -> None:
    (order,) = await asked(world)
    before = await everything(world)
    async with candidate(world) as one:
        for method in ("GET", "HEAD"):
            assert (await one.request(method, link(order, answer))).status_code == 200
        page = (await one.get(f"{link(order, answer)}?lang=en&answer={answer}")).text
        assert "23 December 2026" in page and f'name="answer" value="{answer}"' in page
        assert "Eins" not in page and "a1@x.example" not in page and "<script" not in page
        assert (await one.put(link(order, answer))).status_code == 405
    assert await everything(world) == before


@pytest.mark.parametrize("answer", list(Answer))
async def test_s25_the_button_answers_once_and_again_changes_nothing(world: World, answer: str) -> None:
    (order,) = await asked(world)
    async with candidate(world) as one:
        said = await one.post(link(order, answer), data={"answer": answer})
        assert said.status_code == 200 and text("de", NOTES[answer]) in said.text
        assert (await question(world, order))["answer"] == answer
        after = await everything(world)
        assert (await one.post(link(order, answer), data={"answer": answer})).status_code == 200
        # What posts without having read the page answers nothing.
        for blind in ({}, {"List-Unsubscribe": "One-Click"}, {"answer": "yes"}):
            assert (await one.post(link(order, answer), data=blind)).status_code == 400
    assert await everything(world) == after


async def test_s25_swapped_forged_and_truncated_consent_links_are_refused(world: World) -> None:
    (order,) = await asked(world)
    before = await everything(world)
    stay, delete, wishes = (
        tokens().sign_id(purpose, order)
        for purpose in (*(CONSENT_PURPOSES[one] for one in Answer), Purpose.PREFERENCES)
    )
    changed = delete[:-2] + ("a" if delete[-2] != "a" else "b") + delete[-1]
    forged = [delete[:-1], delete + "a", changed, "a" * len(delete), tokens().sign_id(Purpose.CONSENT_DELETE, 4711)]
    places = [
        *(f"/consent/delete/{token}" for token in (stay, wishes, *forged)),
        *(f"/consent/stay/{token}" for token in (delete, wishes)),
        *(f"/p/{token}" for token in (stay, delete)),
        f"/consent/lapse/{delete}",
    ]
    async with candidate(world) as one:
        for place in places:
            for answer in (await one.get(place), await one.post(place, data={"answer": "delete", "wish": "delete"})):
                assert answer.status_code == 403, place
                assert text("de", REFUSALS["no_link"]) in answer.text
    assert await everything(world) == before


async def test_the_page_tells_what_was_answered_and_when_it_is_carried_out(world: World) -> None:
    (order,) = await asked(world, setup=with_setting("{after_months: 6}"))
    async with candidate(world) as one:
        await night(world)
        assert "nicht rechtzeitig" in (await one.get(link(order, "stay"))).text
        await one.post(link(order, "stay"), data={"answer": "stay"})
        assert "bleiben möchten" in (await one.get(link(order, "stay"))).text
        page = (await one.post(link(order, "delete"), data={"answer": "delete"})).text
        assert "26. Dezember 2026" in page
        await night(world, SILENCE + timedelta(days=3))
        gone = await one.post(link(order, "stay"), data={"answer": "stay"})
        assert gone.status_code == 409 and text("de", NOTES[ERASED]) in gone.text
        assert "Eins" not in gone.text
        assert (await one.get(link(order, "delete"))).status_code == 200


async def test_a_letter_that_asks_nothing_is_told_so(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,", setup=CONSENT)
    await world.run("Gruß")
    (order,) = await world.turn()
    await world.send(order)
    before = await everything(world)
    async with candidate(world) as one:
        for answer in (
            await one.get(link(order, "stay")),
            await one.post(link(order, "stay"), data={"answer": "stay"}),
        ):
            assert answer.status_code == 409 and text("de", REFUSALS["no_question"]) in answer.text
    assert await everything(world) == before


def test_both_languages_say_everything() -> None:
    assert LANGUAGES == ("de", "en") and len(CONSENT_LINKS) == len(Answer)
    for message in NOTES.values():
        assert text("de", message) != message
