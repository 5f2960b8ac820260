"""The candidates' page: only a genuine link is answered, only POST changes anything, and only once (S25)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from email import message_from_bytes
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.exc import ProgrammingError

from services.mailer.letters import Letters
from services.public import app as public
from services.public.app import HEADERS, MOST_BYTES, MOST_REQUESTS, build_public
from services.public.rendering import NOTES, REFUSALS, text
from shared.db import opt_outs
from shared.db.candidate_requests import LONGEST_WORDS, finish
from shared.db.candidate_wishes import Wish
from shared.db.core_data import reduce_to_core_data
from shared.db.system_settings import load_system_settings, save_system_settings
from shared.db.tables import applications, candidate_requests, events, metadata
from shared.domain.link_tokens import LinkTokens, Purpose
from shared.errors import InvalidSettings, NotFound, Refused
from shared.public_links import public_links
from shared.settings import Settings, load_settings
from tests.services.setup_files import rows
from tests.services.share_roles import by_its_role
from tests.services.world import SETUP, World

SECRET = "a secret of links, at random, for tests"
GIVEN = {"KP_LINK_KEYS": SECRET.replace(" ", "-").replace(",", ""), "KP_PUBLIC_URL": "https://firma.example/pflege"}
PEOPLE = ("A1,,Eins,a1@x.example,Neu,", "B1,,Zwei,b1@x.example,Neu,")
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def settings(**more: str) -> Settings:
    return load_settings({**GIVEN, **more})


def tokens() -> LinkTokens:
    found = settings().link_tokens()
    assert found
    return found


@asynccontextmanager
async def candidate(world: World, client: str = "192.0.2.1") -> AsyncIterator[httpx.AsyncClient]:
    async with by_its_role(world.database, "public") as database:
        page: Any = build_public(database, world.clock, settings())
        transport = httpx.ASGITransport(page, client=(client, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="https://firma.example/pflege") as one:
            yield one


async def link(world: World, application: str = "A1") -> str:
    order = next(row["id"] for row in await world.rows() if row["external_id"] == application)
    return f"/p/{tokens().sign_id(Purpose.PREFERENCES, order)}"


async def everything(world: World) -> dict[str, list[Any]]:
    """All that the database holds."""
    async with world.database.read() as connection:
        found = {table.name: list(await connection.execute(select(table))) for table in metadata.sorted_tables}
    return {name: [tuple(row) for row in kept] for name, kept in found.items()}


async def test_s25_looking_changes_nothing_and_shows_nobody(world: World) -> None:
    await world.queued(*PEOPLE)
    at, before = await link(world), await everything(world)
    async with candidate(world) as one:
        for method in ("GET", "HEAD"):
            answer = await one.request(method, at)
            assert answer.status_code == 200
        assert "Abmelden" in (await one.get(at)).text
        page = (await one.get(f"{at}?lang=en&wish=opt_out&List-Unsubscribe=One-Click")).text
        assert "Unsubscribe" in page and "Eins" not in page and "a1@x.example" not in page and "<script" not in page
        assert (await one.options(at)).status_code == (await one.put(at)).status_code == 405
    assert await everything(world) == before


@pytest.mark.parametrize("column", ["usable_email", "email", "last_name"])
async def test_s17_the_page_reads_no_address_and_no_name(world: World, column: str) -> None:
    await world.begin(*PEOPLE)
    refused = pytest.raises(ProgrammingError, match="permission denied")
    async with by_its_role(world.database, "public") as database, database.read() as connection:
        with nullcontext() if database.dialect == "sqlite" else refused:  # SQLite knows no roles
            await connection.execute(select(applications.c[column]))


async def test_s25_one_click_unsubscribes_once_and_again_changes_nothing(world: World) -> None:
    await world.queued(*PEOPLE)
    at = await link(world)
    async with candidate(world) as one:
        assert (await one.post(at, data=ONE_CLICK)).status_code == 200
        after = await everything(world)
        assert (await one.post(at, data=ONE_CLICK)).status_code == 200
        # As other programs send it (RFC 8058, 3.2).
        assert (await one.post(at, files={"List-Unsubscribe": (None, "One-Click")})).status_code == 200
    assert await everything(world) == after
    assert await world.orders() == {"A1": "withdrawn", "B1": "queued"}
    assert (await world.order("A1"))["reason"] == "opted out"


async def test_c53_s25_an_unsubscription_between_t1_and_t2_stops_the_letter(world: World) -> None:
    held = (await world.claim(*await world.queued(*PEOPLE))).orders
    async with candidate(world) as one:
        assert (await one.post(await link(world), data=ONE_CLICK)).status_code == 200
    granted = {order.application["external_id"] for order in held if await world.intend(order)}
    assert granted == {"B1"} and (await world.order("A1"))["state"] == "withdrawn"


@pytest.mark.parametrize(
    ("wish", "back"),
    [
        (Wish.OPT_OUT, Wish.OPT_IN),
        (Wish.PAUSE, Wish.END_PAUSE),
        (Wish.NO_BIRTHDAY, Wish.BIRTHDAY),
        (Wish.YEARLY, Wish.AS_USUAL),
        (Wish.DELETE, Wish.KEEP),
    ],
)
async def test_s25_every_wish_is_shown_and_can_be_taken_back(world: World, wish: Wish, back: Wish) -> None:
    await world.queued(*PEOPLE)
    at = await link(world)
    async with candidate(world) as one:
        for said, offered in ((wish, back), (back, wish)):
            for _ in range(2):
                answer = await one.post(at, data={"wish": said.value})
                assert answer.status_code == 200 and text("de", NOTES[said.value]) in answer.text
                assert f'value="{offered.value}"' in answer.text and f'value="{said.value}"' not in answer.text
            once = await everything(world)
            await one.post(at, data={"wish": said.value})
            assert await everything(world) == once
    told = await rows(world.database, events, noun="person")
    assert len(told) >= 2 and {event["author"] for event in told} == {"candidate"}


async def test_a_request_for_deletion_ends_letters_at_once_and_waits_for_a_recruiter(world: World) -> None:
    await world.queued(*PEOPLE)
    async with candidate(world) as one:
        await one.post(await link(world), data={"wish": "delete"})
    (asked,) = await rows(world.database, candidate_requests)
    assert (asked["kind"], asked["words"], asked["done_at"]) == ("deletion", None, None)
    assert (await world.order("A1"))["reason"] == "opted out"
    now = world.clock.now()
    await finish(world.database, asked["id"], author="anna", now=now)
    with pytest.raises(Refused):
        await finish(world.database, asked["id"], author="anna", now=now)


async def test_a_correction_is_bounded_and_erased_with_the_rest(world: World) -> None:
    await world.queued(*PEOPLE)
    at = await link(world)
    async with candidate(world) as one:
        for words, status in (("", 422), ("x" * (LONGEST_WORDS + 1), 422), ("\0", 422), ("Neue Straße <b>1</b>", 200)):
            answer = await one.post(at, data={"wish": "correct", "words": words})
            assert answer.status_code == status, words[:10]
        assert "<b>" not in answer.text
        for number in range(6):
            answer = await one.post(at, data={"wish": "correct", "words": f"Nummer {number}"})
            assert answer.status_code == (200 if number < 4 else 409)
        # The same again is the same.
        assert (await one.post(at, data={"wish": "correct", "words": "Nummer 0"})).status_code == 200
        assert (await one.post(at, data={"wish": "x"})).status_code == (await one.post(at)).status_code == 400
        large = {"wish": "correct", "words": "ä" * MOST_BYTES}
        assert (await one.post(at, data=large)).status_code == 413
    assert [row["words"] for row in await rows(world.database, candidate_requests)][:2] == [
        "Neue Straße <b>1</b>",
        "Nummer 0",
    ]
    async with world.database.begin() as connection:
        kept = await load_system_settings(connection)
        ids = list((await connection.execute(select(applications.c.id))).scalars())
        await reduce_to_core_data(connection, ids, kept, world.clock.now())
    assert {row["words"] for row in await rows(world.database, candidate_requests)} == {None}


async def test_d42_s27_an_old_link_of_a_reduced_application_takes_no_words_again(world: World) -> None:
    await world.queued(*PEOPLE)
    at, correction = await link(world), {"wish": "correct", "words": "QKagain"}
    async with world.database.begin() as connection:
        (reduced,) = (
            await connection.execute(select(applications.c.id).where(applications.c.external_id == "A1"))
        ).one()
        await reduce_to_core_data(connection, [reduced], await load_system_settings(connection), world.clock.now())
    async with candidate(world) as one:
        for language, said in (("de", "Ihre Daten wurden gelöscht"), ("en", "your data were erased")):
            answer = await one.post(f"{at}?lang={language}", data=correction)
            assert answer.status_code == 409 and said in answer.text
        # What is kept they may have deleted, and somebody else may have theirs corrected.
        assert (await one.post(at, data={"wish": "delete"})).status_code == 200
        assert (await one.post(await link(world, "B1"), data=correction)).status_code == 200
    asked = {(row["kind"], row["words"]) for row in await rows(world.database, candidate_requests)}
    assert asked == {("deletion", None), ("correction", "QKagain")}


async def test_d25_a_deletion_and_the_opt_out_that_comes_with_it_are_one_transaction(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.queued(*PEOPLE)
    at, before = await link(world), await everything(world)

    async def killed(*_: Any) -> None:
        raise NotFound("order", None)

    with monkeypatch.context() as patched:
        patched.setattr(opt_outs, "note_wish", killed)
        async with candidate(world) as one:
            assert (await one.post(at, data={"wish": "delete"})).status_code == 403
    assert await everything(world) == before


async def test_s25_forged_swapped_and_truncated_links_get_one_page(world: World) -> None:
    await world.queued(*PEOPLE)
    good, other = await link(world), await link(world, "B1")
    foreign = LinkTokens(["another secret of links, at random"]).sign_id(Purpose.PREFERENCES, 1)
    gone = tokens().sign_id(Purpose.PREFERENCES, 10**9)
    # The subject of one with the signature of the other.
    swapped = good[: -len("x" * 26)] + other[-26:]
    bad = [good[:-1], good + "a", swapped, f"/p/{foreign}", f"/p/{gone}", "/p/1", f"/p/{'a' * 42}", "/p/%00%ff", "/p/ä"]
    before = await everything(world)
    async with candidate(world) as one:
        answers = [await one.get(at) for at in bad] + [await one.post(at, data=ONE_CLICK) for at in bad]
        assert {answer.status_code for answer in answers} == {403}
        assert {answer.text for answer in answers} == {answers[0].text}
        assert text("de", REFUSALS["no_link"]) in answers[0].text
        assert (await one.get("/p/")).status_code == (await one.get("/")).status_code == 404
    assert await everything(world) == before


async def test_s25_no_link_reads_the_database_unless_it_is_genuine(world: World) -> None:
    await world.queued(*PEOPLE)
    at = await link(world)
    await world.database.close()

    class Closed:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"asked for {name}")

    page: Any = build_public(Closed(), world.clock, settings())  # type: ignore[arg-type]
    transport = httpx.ASGITransport(page, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://firma.example/pflege") as one:
        assert (await one.post(at[:-1], data=ONE_CLICK)).status_code == 403
        assert (await one.get(at)).status_code == 500


LINKED = SETUP.replace('text: "Guten Tag {{ applicant.last_name }}"', 'text: "Weniger Post: {{ links.preferences }}"')


async def test_s25_letters_have_their_recipients_link_in_header_and_text(world: World) -> None:
    given = settings()
    ids = await world.queued(*PEOPLE, setup=LINKED)
    letters = Letters(None, public_links(given))
    for order in (await world.claim(*ids)).orders:
        async with world.database.read() as connection:
            writing = await letters.prepare(connection, [order], await load_system_settings(connection))
        mail = message_from_bytes(letters.write(order, writing).content)
        own = f"{given.kp_public_url}{await link(world, order.application['external_id'])}"
        assert mail["List-Unsubscribe"] == f"<{own}>" and mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert own in (mail.get_payload(decode=True) or b"").decode()  # type: ignore[union-attr]


async def test_s35_every_answer_has_the_headers_and_no_cookie(world: World) -> None:
    await world.queued(*PEOPLE)
    at = await link(world)
    async with candidate(world) as one:
        for answer in (
            await one.get(at),
            await one.post(at, data=ONE_CLICK),
            await one.get("/p/x"),
            await one.get("/x"),
        ):
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
            assert "set-cookie" not in answer.headers and "server-timing" not in answer.headers
        style = await one.get("/static/public.css")
        assert style.status_code == 200 and style.headers["cache-control"] == "public, max-age=3600"
        assert 'href="/pflege/static/public.css"' in (await one.get(at)).text
        assert "Disallow: /" in (await one.get("/robots.txt")).text


async def test_s25_an_address_asks_so_often_and_others_are_not_hindered(world: World) -> None:
    async with candidate(world, "2001:db8::1") as one:
        found = [(await one.get("/p/x")).status_code for _ in range(MOST_REQUESTS + 1)]
    assert set(found[:-1]) == {403} and found[-1] == 429


async def test_the_page_names_the_company_in_the_browsers_language(world: World) -> None:
    await world.queued(*PEOPLE)
    async with world.database.begin() as connection:
        await save_system_settings(connection, {"company": "Firma & Söhne"})
    async with candidate(world) as one:
        at = await link(world)
        english = (await one.get(at, headers={"accept-language": "fr, en;q=0.5"})).text
        assert '<html lang="en">' in english and "Letters from us: Firma &amp; Söhne" in english
        assert '<html lang="de">' in (await one.get(at, headers={"accept-language": "fr"})).text
        world.clock.advance(timedelta(days=1))
        assert '<html lang="de">' in (await one.get(f"{at}?lang=de", headers={"accept-language": "en"})).text


def test_the_page_does_not_start_without_what_reads_links() -> None:
    with pytest.raises(InvalidSettings, match="KP_LINK_KEYS"):
        build_public(None, None, load_settings({}))  # type: ignore[arg-type]
    assert public.POLICY.startswith("default-src 'none'")


@pytest.mark.parametrize("language", ["de", "en"])
def test_every_note_and_refusal_has_its_words(language: str) -> None:
    known = {*NOTES.values(), *REFUSALS.values()}
    said = {text(language, one) for one in known}
    assert len(said) == len(known) and (said == known) == (language == "en")
    assert {one.value for one in Wish} <= NOTES.keys()
