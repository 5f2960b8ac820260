"""`person wish`, `person requests`, `person request-done`, and what `person show` tells of them."""

import json
import sqlite3
from typing import Any

from tests.services.command_line import CommandLine


def shown(cli: CommandLine) -> Any:
    return json.loads(cli("person", "show", "A1", "--json").out)


def test_a_wish_is_set_shown_and_taken_back(cli: CommandLine) -> None:
    for wish, back, name in (("no_birthday", "birthday", "no_birthday_since"), ("yearly", "as_usual", "yearly_since")):
        assert cli("person", "wish", "A1", wish).out == f"person of A1: {wish}, 0 letters stopped\n"
        assert cli("person", "wish", "A1", wish).out == f"person of A1: {wish} held before\n"
        assert shown(cli)[name]
        assert cli("person", "wish", "A1", back).code == 0
        assert shown(cli)[name] is None
    assert cli("person", "wish", "A1", "chocolate").code == 2
    assert "application 'A9'" in cli.says_one_line("person", "wish", "A9", "yearly")


def test_requests_are_listed_until_they_are_done(cli: CommandLine) -> None:
    assert json.loads(cli("person", "requests", "--json").out) == []
    with sqlite3.connect(cli.database) as connection:
        connection.execute(
            "INSERT INTO candidate_requests (application_id, kind, words, made_at)"
            " VALUES ((SELECT id FROM applications WHERE external_id = 'A1'), 'correction', 'Müller', 1)"
        )
    connection.close()
    (waiting,) = json.loads(cli("person", "requests", "--json").out)
    assert (waiting["application"], waiting["kind"], waiting["words"]) == ("A1", "correction", "Müller")
    assert shown(cli)["requests"][0]["words"] == "Müller" and "Müller" in cli("person", "show", "A1").out
    assert cli("person", "request-done", str(waiting["id"])).out == f"request {waiting['id']}: done\n"
    assert json.loads(cli("person", "requests", "--json").out) == [] and shown(cli)["requests"] == []
    assert "is done already" in cli.says_one_line("person", "request-done", str(waiting["id"]))
    assert "no request 99" in cli.says_one_line("person", "request-done", "99")
