"""The parsers that `make guided` feeds: each reads its examples, whole and damaged, and notices what is broken."""

import hmac
import re
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.parsers import PARSERS
from tests.fuzz.values import damaged

#: Of each parser a place in the product, and what is put there instead.
BROKEN: dict[str, tuple[str, Any]] = {
    "mail": ("shared.domain.mail_parts.fields_of", lambda head: head.decode("ascii")),
    "report": ("shared.domain.returned_mail._status", lambda fields: fields.first("status").split(".")[2]),
    "words": ("shared.domain.delivery_failures._judge_permanent", lambda detail, words: words[20]),
    "rows": ("shared.importing.cells.day", lambda column, cell: date.fromisoformat(cell)),
    "message": ("shared.bus.messages.orjson", SimpleNamespace(loads=lambda body: body[500])),
    "token": ("shared.domain.link_tokens.hmac", SimpleNamespace(digest=hmac.digest, compare_digest=lambda *_: True)),
    "address": ("shared.domain.mail_addresses._PLAIN", re.compile("(.*)@(.*)", re.DOTALL)),
    "letter": ("shared.domain.letter_language._translated", lambda place, source, work: work()),
}


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_reads_or_refuses_whatever_it_is_given(name: str) -> None:
    try_out(name)


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_notices_what_is_broken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*BROKEN[name])
    with pytest.raises(Exception):  # noqa: B017 - of any kind
        try_out(name)


def try_out(name: str) -> None:
    parser = PARSERS[name]
    for example in (*parser.examples, b"", b"\0", b"\xff" * 300):
        parser.read(example)

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(damaged(st.sampled_from(parser.examples)))
    def reads(data: bytes) -> None:
        parser.read(data[: parser.longest])

    reads()
