"""The simulated day: it loses no letter, its rates are the measured ones, and the document shows what it gives.

The rate of one mailer with many connections and that of four with ten are inputs (ONE_MAILER, BETWEEN_LETTERS): that it
gives them back shows its arithmetic only. The 163 a second of one mailer with ten were measured apart and check it.
"""

import math
from pathlib import Path

import pytest

from bench.load import CHOSEN, ONE_MAILER, PUBLISHED, RING_BATCH, RUNG, Outage, Release, Site, simulate, table
from services.evaluator import evaluate
from services.scheduler import sweep

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "load.md"
FOUR = Site(4)


@pytest.mark.parametrize(
    ("site", "measured"),
    [
        (Site(1), 163),
        (FOUR, 620),
        (Site(1, connections=50, answer_seconds=0), ONE_MAILER),
    ],
)
def test_its_rates_are_those_that_were_measured(site: Site, measured: float) -> None:
    assert min(site.limits().values()) == pytest.approx(measured, rel=0.06)


def test_a_day_by_hand() -> None:
    day = simulate(FOUR, [Release(100, 620 * 60)])
    # Released within a second, rung for within two.
    assert day.last_second - 100 == pytest.approx(60, abs=2)
    assert day.waited(0.5) == pytest.approx(30, abs=2)
    assert day.most_waiting == 620 * 60
    assert simulate(Site(8), [Release(100, 620 * 60)]).last_second - 100 == pytest.approx(30, abs=2)


def test_every_letter_goes_out_once_whatever_happens() -> None:
    releases = [Release(0, 50_000), Release(30, 70_000)]
    outages = [Outage(10, 40), Outage(60, 90, 0.5)]
    day = simulate(FOUR, releases, deferred=0.3, again_after=45, outages=outages)
    assert day.sent == pytest.approx(120_000)
    assert sum(day.waits.values()) == pytest.approx(day.sent)


def test_an_outage_delays_what_waits_by_as_much() -> None:
    calm = simulate(FOUR, [Release(0, 620 * 60)])
    assert simulate(FOUR, [Release(0, 620 * 60)], outages=[Outage(20, 50)]).last_second == calm.last_second + 30
    assert simulate(FOUR, [Release(0, 620 * 60)], outages=[Outage(20, 50, 0.5)]).last_second == calm.last_second + 15


def test_who_is_put_off_waits_at_least_so_long_and_takes_a_second_turn() -> None:
    day = simulate(FOUR, [Release(0, 6200)], deferred=0.25, again_after=600)
    assert sum(letters for seconds, letters in day.waits.items() if seconds >= 600) == pytest.approx(1550)
    assert simulate(FOUR, [Release(0, 620 * 600)], deferred=0.25, again_after=60).last_second > 740


def test_a_release_takes_its_time_and_so_do_its_doorbells() -> None:
    fast = Site(1000, connections=1000, postgres_cores=math.inf)
    assert simulate(fast, [Release(0, 10_000_000)]).last_second == pytest.approx(120 + 10_000_000 / RUNG, abs=2)


def test_doorbells_are_rung_for_slower_than_chosen_and_than_published() -> None:
    assert RUNG < min(RING_BATCH / CHOSEN, PUBLISHED) < 9_810
    assert evaluate.RING_BATCH == sweep.RING_BATCH == RING_BATCH


def test_nobody_sends_without_mailers() -> None:
    assert simulate(Site(0), [Release(0, 10)]).sent == 0


def test_the_document_shows_what_the_simulation_gives() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert "\n".join(table()) in text
