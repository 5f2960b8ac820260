"""How slow guessing passwords is (S21)."""

import unicodedata
from itertools import count, product

import pytest

from services.console.throttle import FIRST_SECONDS, FREE, LONGEST_SECONDS, MOST, Throttle


class Guesser:
    """Tries a name as often as it is let in a day, from wherever it likes."""

    def __init__(self) -> None:
        self.now = 0.0
        self.throttle = Throttle(lambda: self.now)

    def looked_at(self, names: list[str], clients: list[str], seconds: float) -> int:
        """How many guesses are looked at when thousands are tried within the time."""
        found, end = 0, self.now + seconds
        for number in count():
            name, client = names[number % len(names)], clients[number % len(clients)]
            if (wait := self.throttle.seconds_to_wait(name, client)) > 0:
                self.now += min(wait, seconds / 1000)
            else:
                self.throttle.failed(name, client)
                found += 1
            if self.now >= end or number > 100_000:
                return found
        raise AssertionError


#: Spellings that are one user to the database: case, blanks around, and the ways to write an accent.
SPELLINGS = [
    f"{blank}{''.join(parts)}{blank}"
    for blank in ("", " ", "\t", "\u2003")
    for parts in product(*[(one, one.upper(), unicodedata.normalize("NFD", one)) for one in "müllé"])
]


@pytest.mark.parametrize("names", [["müllé"], SPELLINGS], ids=["one spelling", "every spelling"])
@pytest.mark.parametrize("clients", [["a"], [f"client {n}" for n in range(1000)]], ids=["one client", "a thousand"])
def test_s21_a_thousand_guesses_at_one_user_take_days_however_they_are_spelled(
    names: list[str], clients: list[str]
) -> None:
    waits = [min(FIRST_SECONDS * 2.0**n, LONGEST_SECONDS) for n in range(1000 - FREE)]
    assert sum(waits) > 10 * 24 * 3600
    in_a_day = Guesser().looked_at(names, clients, 24 * 3600)
    assert FREE < in_a_day < FREE + 10 + 24 * 3600 / LONGEST_SECONDS


def test_s21_one_client_that_tries_everybody_is_slowed_down_too() -> None:
    in_an_hour = Guesser().looked_at([f"user {n}" for n in range(20_000)], ["a"], 3600)
    assert 10 * FREE < in_an_hour < 10 * FREE + 15


def test_s21_who_is_waited_for_is_not_forgotten_in_a_flood_of_other_names() -> None:
    guesser = Guesser()
    while guesser.throttle.seconds_to_wait("anna", "evil") == 0:
        guesser.throttle.failed("anna", "evil")
    for number in range(MOST + 10):
        guesser.throttle.failed(f"name {number}", f"client {number}")
    assert guesser.throttle.seconds_to_wait("anna", "another") > 0
    assert guesser.throttle.seconds_to_wait("bert", "another") == 0
