"""Asking servers at given addresses whether they can be used."""

import time
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import pika
import psycopg
from pika.exceptions import AMQPError

from shared.settings import without_password
from tests.servers.state import ServersImpossible


def check_given(given: dict[str, str]) -> None:
    """Refuses addresses in TEST_AMQP_URL and TEST_DATABASE_URL that do not answer, naming them."""
    for name, wait in (("TEST_AMQP_URL", wait_for_amqp), ("TEST_DATABASE_URL", wait_for_postgresql)):
        if name in given:
            try:
                wait(given[name], 5)
            except ServersImpossible as exc:
                raise ServersImpossible(f"{name} is set, but {exc}; correct it or unset it") from exc


def wait_for_amqp(url: str, seconds: float) -> None:
    """Waits until a broker accepts a connection."""
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.stack_timeout = 5
    _wait(lambda: pika.BlockingConnection(parameters).close(), url, seconds)


def wait_for_postgresql(url: str, seconds: float) -> None:
    """Waits until a database accepts a connection."""
    _wait(lambda: psycopg.connect(url, connect_timeout=5).close(), url, seconds)


def _wait(connect: Callable[[], None], url: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return connect()
        except (AMQPError, psycopg.Error, OSError) as exc:
            if time.monotonic() > deadline:
                shown = without_password(url)
                raise ServersImpossible(f"{shown} cannot be used: {str(exc).strip() or type(exc).__name__}") from exc
            time.sleep(0.3)


def database_name(url: str) -> str:
    """The database an address names."""
    return unquote(urlsplit(url).path.removeprefix("/"))
