"""A log that cannot be written holds nobody up (C60), and none tells whose an address is (S26)."""

import io
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from shared.logs import MOST_WAITING, PatientStream, configure_logging, get_logger


def until_written(out: io.StringIO, text: str) -> None:
    end = time.monotonic() + 10
    while text not in out.getvalue():
        assert time.monotonic() < end, out.getvalue()
        time.sleep(0.01)


def test_c60_a_pipe_that_nobody_reads_holds_nobody_up() -> None:
    reading, writing = os.pipe()
    target = os.fdopen(writing, "w")
    stream = PatientStream(target)
    began = time.monotonic()
    for number in range(MOST_WAITING + 5000):
        stream.write(f"line {number} {'x' * 20}\n")
    assert time.monotonic() - began < 5
    assert os.read(reading, 100).startswith(b"line 0 ")
    os.close(reading)
    with suppress(OSError):
        target.close()


def test_c60_lines_lost_to_a_full_disk_are_counted_in_the_next_one(tmp_path: Path) -> None:
    class Disk(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    disk = Disk()
    stream = PatientStream(disk)
    for _ in range(3):
        stream.write("lost")
    end = time.monotonic() + 10
    while stream._dropped < 3:
        assert time.monotonic() < end
        time.sleep(0.01)
    disk.full = False
    stream.write("kept")
    until_written(disk, "kept")
    assert "3 pieces of the log were dropped" in disk.getvalue()


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_s26_of_mail_addresses_only_the_domain_is_logged(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    configure_logging("info", as_json)
    log = get_logger("mailer")
    said = "RCPT TO: 550 5.1.1 <erika.muster+x@muster.example>: unknown; ask erika@mx.example, 'jörg@müller.example'"
    said += ', "erika muster"@mx.example'
    log.warning("settled", reason=said, order=7, relay="amqp://kp:***@127.0.0.1:5672")
    try:
        raise ValueError("erika@muster.example cannot be written")
    except ValueError:
        log.exception("broken", action="deliver")
    told = capsys.readouterr().err
    told = told.encode().decode("unicode_escape") if as_json else told
    assert "erika" not in told and "jörg" not in told
    assert "<...@muster.example>: unknown" in told and "...@müller.example" in told
    assert "amqp://kp:***@127.0.0.1:5672" in told and "7" in told and "ValueError" in told
