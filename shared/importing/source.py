"""Rows of a CSV or JSON Lines file, with their line numbers; what makes a file unusable is one clear refusal."""

import codecs
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from shared.errors import InvalidInput
from shared.importing.csv_rows import csv_rows
from shared.importing.json_rows import json_rows
from shared.importing.rows import Row

_CHUNK_BYTES = 1 << 20
#: No line of a table is longer; a file of one line must not be read into memory.
_LONGEST_LINE_CHUNKS = 32
_ROWS_PER_PROGRESS = 2000

#: Called with the bytes done and the bytes of the whole file.
Progress = Callable[[int, int], None]


def read_rows(path: Path, known: Sequence[str], required: Sequence[str], progress: Progress | None) -> Iterator[Row]:
    """Yields the rows; raises InvalidInput before the first one if the file as a whole cannot be used."""
    _check_encoding(path)
    size = path.stat().st_size
    with path.open("rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        is_json = path.suffix.lower() in (".jsonl", ".ndjson")
        rows = json_rows(text, known) if is_json else csv_rows(str(path), text, known, required)
        for number, row in enumerate(rows):
            if progress is not None and number % _ROWS_PER_PROGRESS == 0:
                progress(raw.tell(), size)
            yield row
        if progress is not None:
            progress(size, size)


def _check_encoding(path: Path) -> None:
    """The whole file must be UTF-8: nothing may be imported from one that turns out otherwise in its middle."""
    try:
        with path.open("rb") as file:
            _check_content(str(path), file)
    except FileNotFoundError:
        raise InvalidInput(str(path), path.name, "there is no such file") from None
    except OSError as exc:
        raise InvalidInput(str(path), path.name, f"cannot be read: {exc.strerror}") from exc


def _check_content(place: str, file: BinaryIO) -> None:
    chunk = file.read(_CHUNK_BYTES)
    if not chunk:
        raise InvalidInput(place, "", "the file is empty")
    if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InvalidInput(place, "UTF-16", "the encoding must be UTF-8; save the file as UTF-8")
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, chunks_of_line = 1, 0
    while chunk:
        _decode(place, decoder, chunk, line)
        found = chunk.count(b"\n")
        line += found
        chunks_of_line = 0 if found or b"\r" in chunk else chunks_of_line + 1
        if chunks_of_line > _LONGEST_LINE_CHUNKS:
            raise InvalidInput(f"{place}, line {line}", "", f"the line is longer than {_LONGEST_LINE_CHUNKS} MiB")
        chunk = file.read(_CHUNK_BYTES)
    _decode(place, decoder, b"", line, final=True)


def _decode(place: str, decoder: codecs.IncrementalDecoder, chunk: bytes, line: int, final: bool = False) -> None:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError as exc:
        line += exc.object.count(b"\n", 0, exc.start)
        byte = f"byte 0x{exc.object[exc.start]:02x}"
        fix = "is not UTF-8 (perhaps Windows-1252 or ISO-8859-1); save the file as UTF-8"
        raise InvalidInput(f"{place}, line {line}", byte, fix) from exc
