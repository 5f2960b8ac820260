"""What KEDA asks RabbitMQ (deploy/kubernetes/keda), asked as the user that docs/deployment.md makes."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit

import pytest

from shared.bus.messages import WriteOrderReady
from tests.contract.buses import ORDERS, opened, orders, receive, until
from tests.servers.fresh import manage

KEDA = ("keda_of_a_test", "lettersanddigits")


@pytest.fixture
def management(servers: Mapping[str, str], amqp_url: str) -> Iterator[str]:
    """The management interface, with a user who may look and do nothing else in the test's vhost."""
    base = servers.get("TEST_AMQP_MANAGEMENT_URL")
    assert base, "give TEST_AMQP_MANAGEMENT_URL too: RabbitMQ's plugin rabbitmq_management"
    parts = urlsplit(amqp_url)
    admin = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    user, vhost = KEDA[0], parts.path.removeprefix("/")
    manage("PUT", base, f"users/{user}", admin, {"password": KEDA[1], "tags": "management"})
    manage("PUT", base, f"permissions/{vhost}/{user}", admin, {"configure": "^$", "write": "^$", "read": "^$"})
    yield base
    with suppress(OSError):
        manage("DELETE", base, f"users/{user}", admin)


async def test_rabbitmq_tells_a_user_without_rights_what_waits_and_what_mailers_hold(
    amqp_url: str, management: str
) -> None:
    path = f"queues/{urlsplit(amqp_url).path.removeprefix('/')}/{quote(ORDERS)}"

    async def counted() -> bool:
        found = json.loads(manage("GET", management, path, KEDA))
        return (found.get("messages"), found.get("messages_ready")) == (5, 3)

    async with opened(amqp_url) as bus:
        await bus.publish(orders(5))
        await receive(await bus.subscribe(WriteOrderReady, prefetch=2), 2, acking=False)
        await until(counted)
        with pytest.raises(HTTPError) as refused:
            manage("DELETE", management, path, KEDA)
        assert refused.value.code in (401, 403)
