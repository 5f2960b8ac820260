"""Files as rows: what is read, what is refused as a whole, and where a row that cannot be read is reported."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.importing.columns import ANY_CUSTOM
from shared.importing.csv_rows import csv_rows
from shared.importing.json_rows import json_rows
from shared.importing.rows import Row
from shared.importing.source import read_rows

KNOWN = ("external_id", "first_name", "last_name", "in_pool", ANY_CUSTOM)
REQUIRED = ("external_id",)


def read(folder: Path, content: str | bytes, name: str = "file.csv") -> list[Row]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_rows(path, KNOWN, REQUIRED, None))


def cells(rows: list[Row]) -> list[tuple[int, tuple[str, ...]]]:
    assert [row.error for row in rows] == [None] * len(rows)
    return [(row.line, tuple(row.cells)) for row in rows]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_byte_order_mark_line_ends_quotes_and_blank_lines_are_read(tmp_path: Path, mark: str, end: str) -> None:
    lines = ["external_id, last_name", '"A;1","von ""X"", Graf"', "", f'A2,"Müller{end}Lüdenscheidt"', "A3,", ""]
    rows = read(tmp_path, mark + end.join(lines))
    assert cells(rows) == [(2, ("A;1", 'von "X", Graf')), (4, ("A2", f"Müller{end}Lüdenscheidt")), (6, ("A3", ""))]
    assert {row.columns for row in rows} == {("external_id", "last_name")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf", "the header is missing"),
        (b"\n\n", "the header is missing"),
        (b"external_id;last_name\nA1;Muster\n", "the separator is a semicolon, it must be a comma"),
        (b"external_id\tlast_name\nA1\tMuster\n", "the separator is a tab"),
        (b"external_id,lastname\nA1,Muster\n", "'lastname': unknown column; did you mean 'last_name'?"),
        (b"external_id,zzz\nA1,Muster\n", "line 1: 'zzz': unknown column"),
        (b"external_id,last_name,last_name\n", "'last_name': the column is there twice"),
        (b"external_id,custom.A,custom.a\n", "'custom.a': the column is there twice"),
        (b"external_id,custom.\n", "name the custom field"),
        (b"last_name\nMuster\n", "'external_id': the required column is missing"),
        (b'external_id,"last_name\n', "line 1: 'header': cannot be read"),
        ("external_id,last_name\nA1,ok\nA2,Müller\n".encode("cp1252"), "line 3: 'byte 0xfc': is not UTF-8"),
        ("external_id\nA1\n".encode("utf-16"), "'UTF-16': the encoding must be UTF-8"),
        (b"external_id,last_name\nA1,\xc3", "line 2: 'byte 0xc3': is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_as_a_whole_with_place_value_and_fix(
    tmp_path: Path, content: bytes, said: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(tmp_path, content)
    assert said in str(refused.value)
    assert str(tmp_path / "file.csv") in str(refused.value)


def test_bytes_that_are_not_utf8_are_refused_before_the_first_row_wherever_they_are(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(b"external_id\n" + b"A1234567\n" * 200_000 + b"\xff\n")
    with pytest.raises(InvalidInput, match="line 200002: 'byte 0xff'"):
        next(read_rows(path, KNOWN, REQUIRED, None))


@pytest.mark.parametrize(("name", "reason"), [("nothing.csv", "there is no such file"), (".", "cannot be read")])
def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        list(read_rows(tmp_path / name, KNOWN, REQUIRED, None))


def test_a_quote_without_its_end_spoils_its_own_row_and_not_the_ones_behind_it(tmp_path: Path) -> None:
    rows = read(tmp_path, 'external_id,last_name\nA1,"open\nA2,good\nA3,"x"y\nA4,good\n')
    assert [(row.line, row.error is None, row.cells) for row in rows] == [
        (2, False, ()),
        (3, True, ["A2", "good"]),
        (4, False, ()),
        (5, True, ["A4", "good"]),
    ]
    first, second = (row.error for row in rows if row.error)
    assert (first.value, second.value) == ('A1,"open', 'A3,"x"y')


def test_a_row_with_too_few_or_too_many_cells_names_both_numbers(tmp_path: Path) -> None:
    rows = read(tmp_path, "external_id,last_name\nA1\nA2,b,c\n")
    assert [(row.line, row.error.column, row.error.value, row.error.reason) for row in rows if row.error] == [
        (2, "row", "A1", "has 1 cells, the header has 2"),
        (3, "row", "A2,b,c", "has 3 cells, the header has 2"),
    ]


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "JSONL"])
def test_json_lines_hold_texts_numbers_flags_null_and_custom_fields(tmp_path: Path, ending: str) -> None:
    lines = [
        {"external_id": "A1", "last_name": None, "in_pool": True, "custom": {"Alter": 41}},
        {"external_id": 7, "custom.Ort": "Köln\n"},
    ]
    content = "\ufeff" + "\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    rows = read(tmp_path, content, f"file.{ending}")
    assert cells(rows) == [(1, ("A1", "", "true", "41")), (3, ("7", "Köln\n"))]
    assert [row.columns for row in rows] == [
        ("external_id", "last_name", "in_pool", "custom.Alter"),
        ("external_id", "custom.Ort"),
    ]


@pytest.mark.parametrize(
    ("line", "column", "value", "reason"),
    [
        ('{"external_id": "A1",', "row", '{"external_id": "A1",', "is not a JSON object"),
        ("[1]", "row", "[1]", "an object is needed"),
        ("1", "row", "1", "an object is needed"),
        ('{"external_id": "A1", "external_id": "A2"}', "row", None, "the key 'external_id' is there twice"),
        ('{"external_id": ["A1"]}', "row", None, "'external_id' holds a list or an object"),
        ('{"external_id": "A1", "lastname": "X"}', "lastname", "X", "did you mean 'last_name'?"),
        ('{"external_id": "A1", "custom": 5}', "row", None, "`custom` must be an object"),
        (r'{"external_id": "\ud800"}', "row", None, "is not a JSON object"),
        ("[" * 100_000, "row", "[" * 80, "is not a JSON object"),
    ],
)
def test_a_bad_json_line_is_reported_and_the_next_one_read(
    line: str, column: str, value: str | None, reason: str
) -> None:
    bad, good = json_rows([line + "\n", '{"external_id": "B"}\n'], KNOWN)
    assert bad.error is not None
    assert (bad.line, bad.error.column, bad.error.value) == (1, column, line[:80] if value is None else value)
    assert reason in bad.error.reason
    assert (good.line, good.error, good.cells) == (2, None, ("B",))


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), max_size=8)


@settings(max_examples=40)
@given(table=st.lists(st.tuples(CELL, CELL, CELL), max_size=6))
def test_what_a_csv_writer_wrote_is_read_cell_by_cell_with_the_right_lines(table: list[tuple[str, str, str]]) -> None:
    file, lines = io.StringIO(newline=""), []
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("external_id", "first_name", "last_name"))
    for row in table:
        lines.append(file.getvalue().count("\n") + 1)
        writer.writerow(row)
    text = io.StringIO(file.getvalue(), newline="\n")
    assert cells(list(csv_rows("file", text, KNOWN, REQUIRED))) == list(zip(lines, table, strict=True))


@settings(max_examples=40)
@given(text=st.text(st.sampled_from('a",\n;\\'), max_size=40))
def test_no_text_below_a_header_ends_the_reading_or_loses_a_line(text: str) -> None:
    rows = list(csv_rows("file", io.StringIO("external_id,last_name\n" + text, newline="\n"), KNOWN, REQUIRED))
    lines = [row.line for row in rows]
    assert lines == sorted(set(lines))
    assert all(row.error is not None or len(row.cells) == 2 for row in rows)
    # A line without a quote is a row of its own unless it stands inside of quotes that end.
    given_lines = text.split("\n")
    if '"' not in text:
        assert lines == [number for number, line in enumerate(given_lines, 2) if line]
