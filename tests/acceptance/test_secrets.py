"""Passwords and people's data stay out of logs, command lines, metrics and answers of real processes (S12, S26)."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.mail_server import MailServer
from tests.servers.processes import free_port
from tests.smtp_scripts import REPLIES
from tests.stacks import Stack

JOB, DAY, LETTERS = "Prozesshänger", "2026-11-23", 8
#: With what ends the password of an address for whoever reads it carelessly.
SECRET = "qkeins/qkzwei?qkdrei#qkvier:qkfuenf"
#: Of everybody in the stack's people: names, addresses, what they applied for.
PERSONAL = re.compile(r"Muster\d|t\d@|Koch")


def commands_of(process_id: int) -> Iterator[str]:
    """What `ps` shows of a process and of those that it started."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if process_id in (int(folder.name), parent):
                yield (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile


def tells(text: str, *secrets: str) -> list[str]:
    """Those of the secrets that a text gives away, as they are or as they stand in an address, whole or in part."""
    pieces = {piece for secret in secrets for piece in (secret, quote(secret, safe=""), *re.split(r"[/?#:]", secret))}
    return sorted(piece for piece in pieces if piece in text)


def whole_log(stack: Stack) -> str:
    return "\n".join(path.read_text(errors="replace") for path in sorted(stack.folder.glob("*.log")))


def script(address: str, attempt: int) -> str | None:
    """One is refused and one put off, with the words that mail servers have for that: they name the address."""
    return {"t1@firma.example": "refused_by_name", "t2@firma.example": "put_off_by_name"}.get(
        address if attempt == 1 else ""
    )


def test_s12_s26_logs_ps_metrics_and_pages_tell_nothing_of_passwords_and_people(
    embedded_stack: Stack, smtp: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, port = embedded_stack, free_port()
    stack.fresh = True  # their command line is looked at
    monkeypatch.setitem(REPLIES, "refused_by_name", ("RCPT", "550 5.1.1 <t1@firma.example>: Recipient unknown"))
    monkeypatch.setitem(REPLIES, "put_off_by_name", ("DOT", "451 4.7.1 for t2@firma.example, try again"))
    smtp.oracle.credentials, smtp.oracle.script = ("mailer", SECRET), script
    stack.environment["SMTP_URL"] = smtp.oracle.url.replace("//", f"//mailer:{quote(SECRET, safe='')}@")
    stack.load_many(LETTERS)
    stack.start("all", KP_HEALTH_PORT="0", KP_CONSOLE_PORT=str(port), KP_LOG_LEVEL="debug")
    stack.wait_for(lambda: '"health_listens"' in whole_log(stack), 60, "the probes")
    (health,) = re.findall(r'"health_listens", "address": "([^"]+)"', whole_log(stack))
    stack.cli("job", "run", JOB, "--on", DAY)
    stack.wait_for(lambda: stack.states() == {"sent": LETTERS - 1, "failed": 1}, 120, "the letters")
    shown = [httpx.get(f"{health}/{page}").text for page in ("metrics", "readyz", "livez")]
    shown += [
        httpx.get(f"http://127.0.0.1:{port}{path}").text for path in ("/nowhere", "/sign-in", "/jobs", "/orders/1")
    ]
    wrong = {"name": "Muster1", "password": SECRET}
    shown.append(httpx.post(f"http://127.0.0.1:{port}/sign-in", data={**wrong, "name": "x"}).text)
    ((_, process),) = stack.processes
    commands = "\n".join(commands_of(process.pid))
    for arguments in (("doctor",), ("queues", "--json")):
        shown.append(stack.cli(*arguments, check=False).stdout)
    kept = [*stack.folder.glob("*.sqlite3*"), *stack.folder.glob("state/**/*journal*")]
    assert len(kept) > 1 and [file for file in kept if file.is_file() and file.stat().st_mode & 0o077] == []
    stack.stop()
    log = whole_log(stack)
    assert log.count('"settled"') >= 2 and "Recipient unknown" in log and "services" in commands
    for text in (log, commands, *shown):
        assert tells(text, SECRET) == []
        assert PERSONAL.findall(text) == []


@pytest.mark.parametrize("role", ["scheduler", "mailer", "console"])
def test_s12_who_cannot_reach_its_servers_names_them_without_passwords(tmp_path: Path, role: str) -> None:
    port = free_port()
    stack = Stack(
        tmp_path,
        f"postgresql://kp:{SECRET}@127.0.0.1:{port}/kp?password={SECRET}&sslpassword={SECRET}",
        f"amqp://kp:{quote(SECRET, safe='')}@127.0.0.1:{port}/",
        f"smtps://kp:{quote(SECRET, safe='')}@127.0.0.1:{port}",
    )
    try:
        stack.start(role, KP_HEALTH_PORT="0", KP_LOG_LEVEL="debug", SMTP_PASSWORD=SECRET)
        stack.wait_for(lambda: "cannot be reached" in whole_log(stack), 60, "the complaint")
        (health,) = re.findall(r'"health_listens", "address": "([^"]+)"', whole_log(stack))
        answer = httpx.get(f"{health}/readyz")
        assert answer.status_code == 503
        ((_, process),) = stack.processes
        shown = [answer.text, *commands_of(process.pid)]
        shown += [part for done in (stack.cli("doctor", check=False),) for part in (done.stdout, done.stderr)]
    finally:
        stack.close()
    log = whole_log(stack)
    assert f"127.0.0.1:{port}" in log
    assert tells("\n".join((log, *shown)), SECRET) == []


def test_s12_a_secret_in_a_file_is_read_and_only_its_path_is_in_the_environment(tmp_path: Path) -> None:
    from shared.settings import load_settings

    file = tmp_path / "smtp_password"
    file.write_text(f"{SECRET}\n")
    os.chmod(file, 0o400)
    settings = load_settings({"SMTP_PASSWORD_FILE": str(file)})
    assert settings.smtp_password is not None and settings.smtp_password.get_secret_value() == SECRET
    assert tells(f"{settings!r}{settings}", SECRET) == []
