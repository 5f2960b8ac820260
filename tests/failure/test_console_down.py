"""C59: the console is killed, or has no database: letters go on, and who looks is told what is the matter."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import httpx

from tests.mail_server import MailServer
from tests.servers.processes import free_port
from tests.servers.relay import Relay
from tests.stacks import Stack

LETTERS, RATE = 150, 60.0
PASSWORD = "ein langes Passwort"


async def until(condition: Callable[[], bool], seconds: float, what: str, stack: Stack) -> None:
    await asyncio.to_thread(stack.wait_for, condition, seconds, what)


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@asynccontextmanager
async def operator(stack: Stack, url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody signed in, in German."""
    file = stack.folder / "password"
    file.write_text(PASSWORD)
    stack.cli("user", "create", "o.meier", "--display-name", "Otto Meier", "--role", "operate")
    with file.open() as given:
        stack.cli("user", "password", "o.meier", "--stdin", stdin=given)
    async with httpx.AsyncClient(base_url=url, timeout=40, headers={"Accept-Language": "de"}) as client:
        answer = await client.post("/sign-in", data={"name": "o.meier", "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        yield client


async def test_c59_letters_go_on_without_the_console_and_it_says_when_the_database_is_away(
    distributed_stack: Stack, smtp: MailServer
) -> None:
    stack, port = distributed_stack, free_port()
    smtp.oracle.rate = RATE
    stack.load_many(LETTERS)
    stack.start()
    relay = Relay(stack.environment["DATABASE_URL"])
    console = {"KP_CONSOLE_PORT": str(port), "DATABASE_URL": await relay.open()}
    stack.start("console", **console)
    await until(partial(answers, port), 30, "the console's start", stack)
    async with operator(stack, f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/")).status_code == 200
        stack.cli("job", "run", "Prozesshänger", "--on", "2026-11-23")
        await until(lambda: len(smtp.accepted) > 20, 60, "the first letters", stack)
        stack.kill("console")
        assert len(smtp.accepted) < LETTERS
        await until(lambda: stack.states() == {"sent": LETTERS}, 60, "the other letters", stack)
        assert {role for role, _ in stack.running()} == {"scheduler", "evaluator", "mailer"}

        # Started again it knows who was signed in; without its database it stays up and says so, in plain words.
        stack.start("console", **console)
        await until(partial(answers, port), 30, "the console's return", stack)
        assert (await client.get("/workcenter")).status_code == 200
        relay.shut()
        answer = await client.get("/workcenter")
        assert answer.status_code == 503 and "Datenbank" in answer.text and "Traceback" not in answer.text
        await relay.open()
        assert (await client.get("/workcenter")).status_code == 200
    assert len(smtp.accepted) == len({mail.recipient for mail in smtp.accepted}) == LETTERS
