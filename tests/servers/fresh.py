"""A fresh database or vhost for one test, and its end."""

import base64
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

import pika
import psycopg
from pika.exceptions import ChannelClosedByBroker
from psycopg import sql

from shared.bus.topology import DEAD_LETTER_EXCHANGE, EXCHANGE, entities

_NUMBERS = itertools.count(1)


def _name() -> str:
    return f"kp_test_{os.getpid()}_{next(_NUMBERS)}"


def at_path(url: str, path: str) -> str:
    """The same server's address with another database or vhost."""
    return urlunsplit(urlsplit(url)._replace(path="/" + quote(path, safe="")))


@contextmanager
def fresh_database(url: str) -> Iterator[str]:
    """The address of a new, empty database on the server of `url`."""
    name = _name()
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'")
        connection.execute(create.format(sql.Identifier(name)))
        try:
            yield at_path(url, name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def fresh_vhost(environment: Mapping[str, str]) -> Iterator[str]:
    """The address of an empty vhost: a new one where the management interface is known, else the given one emptied."""
    url = environment["TEST_AMQP_URL"]
    base = environment.get("TEST_AMQP_MANAGEMENT_URL")
    if base is None:
        _empty(url)
        yield url
        _empty(url)
        return
    parts, name = urlsplit(url), _name()
    account = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    manage("PUT", base, f"vhosts/{name}", account)
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    manage("PUT", base, f"permissions/{name}/{quote(account[0])}", account, rights)
    try:
        yield at_path(url, name)
    finally:
        manage("DELETE", base, f"vhosts/{name}", account)


def manage(method: str, base: str, path: str, account: tuple[str, str], body: Any = None) -> bytes:
    """One request to RabbitMQ's management interface; raises OSError."""
    token = base64.b64encode(":".join(account).encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body is not None else None
    with urlopen(Request(f"{base}/api/{path}", data, headers, method=method), timeout=30) as answer:
        return bytes(answer.read())


def _empty(url: str) -> None:
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        for entity in entities():
            with suppress(ChannelClosedByBroker):
                connection.channel().queue_delete(entity.name)
        for exchange in (EXCHANGE, DEAD_LETTER_EXCHANGE):
            connection.channel().exchange_delete(exchange.name)
