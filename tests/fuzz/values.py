"""Values that somebody may send: what is meant, what only looks like it, and bytes that were damaged on the way."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.hostile_people import ADDRESSES, NAMES

#: Beyond every id, number and day; what only looks like a digit; what no text can hold; words of the formats.
ODD = (
    *("", " ", "0", "-1", "1", "01", "²", "٣", "1e999", "nan", "true", "null", "99999999999999999999"),
    *("9223372036854775807", "9223372036854775808", "0001-01-01", "9999-12-31", "2026-02-30", "24:00", "25:61"),
    *("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2026-11-23T08:00", "\x00", "\x7f", "\ufeff", "\u2028"),
    *("x" * 1000, "ä" * 300, "é", "e\u0301", "ß", "İ", "\U0001f600", "{{ applicant.last_name }}", "{% if x %}", "{{"),
    *('"', "'", ",", ";", "\n", "\r\n", "%", "_", "\\", "[]", "{}", "&amp;", "../../etc/passwd", "$set", "__class__"),
)

texts: SearchStrategy[str] = st.one_of(
    st.sampled_from(ODD), st.sampled_from(NAMES), st.sampled_from(ADDRESSES), st.text(max_size=30)
)
#: What JSON and YAML hold.
trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-3, 400), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)

#: Bytes that mean something to the readers of CSV, JSON and YAML, or are no UTF-8.
_PIECES = (
    *(b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b"\n", b'"', b"'", b",", b";", b"\t", b"\\"),
    *(
        b"[",
        b"{",
        b"}",
        b"]",
        b":",
        b"- ",
        b"&a ",
        b"*a",
        b"<<: *a",
        b"!!python/object:x",
        b"\\ud800",
        b"\\u0000",
        b"1e999",
    ),
)


@st.composite
def damaged(draw: st.DrawFn, whole: SearchStrategy[bytes]) -> bytes:
    """Bytes of which some were changed, lost, doubled or put in."""
    found = draw(whole)
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(found)))
        until = min(len(found), at + draw(st.sampled_from((0, 1, 2, 8, 100, 10_000))))
        new = draw(st.one_of(st.sampled_from(_PIECES), st.binary(max_size=4), st.just(found[at:until] * 2)))
        found = found[:at] + new + found[until:]
    return found
