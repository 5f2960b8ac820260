"""Commands through the product's real entry point, in this process, with a database of their own."""

import os
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.cli.app import main


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


class CommandLine:
    """`kontaktpflege` through its real entry point, in this process, with a database of its own."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.folder, self._patch, self._capture = folder, patch, capture
        self.database = folder / "test.sqlite3"
        for name in [name for name in os.environ if name.startswith("KP_")]:
            patch.delenv(name)
        patch.chdir(folder)  # no .env of a developer
        for name, value in (("BROKER_URL", "memory://"), ("SMTP_URL", "smtp://127.0.0.1:25")):
            patch.setenv(name, value)
        patch.setenv("DATABASE_URL", f"sqlite:///{self.database}")
        patch.setenv("KP_STATE_DIR", str(folder / "state"))

    def __call__(self, *arguments: str, **environment: str) -> Answer:
        with self._patch.context() as patch:
            patch.setenv("KP_USER", "")  # `--as` sets it; afterwards it is as before
            patch.setattr(sys, "argv", ["kontaktpflege", *arguments])
            for name, value in environment.items():
                patch.setenv(name, value)
            code = 0
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
            out, err = self._capture.readouterr()
        return Answer(code, out, err)

    def refuses(self, *arguments: str, code: int = 1, **environment: str) -> str:
        """A command that fails: nothing on stdout, no traceback, nothing changed; returns the message."""
        before = self.dump()
        answer = self(*arguments, **environment)
        assert (answer.code, answer.out) == (code, ""), answer
        assert "Traceback" not in answer.err and "unexpected" not in answer.err, answer.err
        assert self.dump() == before
        return answer.err

    def says_one_line(self, *arguments: str, **environment: str) -> str:
        """As `refuses`; the message is one line that names the command."""
        message = self.refuses(*arguments, **environment)
        assert message.startswith("kontaktpflege: ") and message.count("\n") == 1, message
        return message

    def file(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def dump(self) -> list[str]:
        """Everything in the database."""
        with sqlite3.connect(self.database) as connection:
            found = list(connection.iterdump())
        connection.close()
        return found
