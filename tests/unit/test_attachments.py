"""Mails with attachments: the standard library reads back what was given (D43, S5)."""

from hypothesis import given
from hypothesis import strategies as st

from services.mailer.compose import attachment_part, compose
from shared.domain.letters import RenderedLetter
from tests.unit.test_compose import _headers, _lines, _parsed

NAMES = (
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=60)
    .map(str.strip)
    .filter(bool)
)
FILES = st.lists(st.tuples(NAMES, st.binary(max_size=500)), min_size=1, max_size=3)


@given(text=st.text("ab\n =\u00e4", max_size=80), html=st.none() | st.just("<p>Guten Tag</p>"), files=FILES)
def test_d43_attachments_are_read_back_byte_for_byte(
    text: str, html: str | None, files: list[tuple[str, bytes]]
) -> None:
    parts = [attachment_part(name, "application/pdf", content) for name, content in files]
    letter = RenderedLetter("Betreff", html, text)
    data = compose(letter, _headers(), parts)
    message = _parsed(data)
    assert message.get_content_type() == "multipart/mixed" and not message.defects
    body, *found = message.iter_parts()
    assert [(part.get_filename(), part.get_payload(decode=True)) for part in found] == files
    assert {part.get_content_type() for part in found} == {"application/pdf"}
    assert all(part.get_content_disposition() == "attachment" for part in found)
    plain = body.get_body(("plain",))
    assert plain is not None and str(plain.get_content()).replace("\r\n", "\n") == _lines(text)
    assert (body.get_content_type() == "text/plain") == (html is None)
    assert data == compose(letter, _headers(), parts)  # I12
    assert all(len(line) <= 998 for line in data.split(b"\r\n"))


def test_d43_a_test_letter_has_no_order() -> None:
    data = compose(RenderedLetter("Betreff", None, "Text"), _headers(order_id=None))
    assert b"X-Kontaktpflege-Order" not in data
