"""Each service as a RabbitMQ user with the rights of deploy/rabbitmq: everything works, nothing else does."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, ProbableAuthenticationError

from shared.bus.topology import DEAD_LETTER_EXCHANGE, DELIVERY_LIMIT, EXCHANGE, ROUTES, entities
from tests.chaos.nodes import Broker
from tests.contract.buses import opened, orders
from tests.mail_server import MailServer
from tests.servers import rabbitmq
from tests.servers.fresh import manage
from tests.servers.processes import listens
from tests.servers.programs import program
from tests.servers.state import Started, end, wait_until
from tests.stacks import Stack

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "rabbitmq"
USERS = ("scheduler", "evaluator", "mailer", "console")
JOB, ORDERS = "Prozesshänger", 60
JOBS_DUE, ORDERS_READY = (route.queue for route in ROUTES)


def administrator_of(node: Broker) -> dict[str, str]:
    """The environment in which apply.sh finds this node's rabbitmqctl."""
    folder = str(Path(program("rabbitmqctl")).parent)
    return {**os.environ, **node.environment, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A node that an administrator has prepared as deploy/rabbitmq/apply.sh does, twice."""
    node = Broker()
    passwords = tmp_path_factory.mktemp("passwords")
    for user in USERS:
        (passwords / user).write_text(f"secret-of-the-{user}\n")
    environment = administrator_of(node)
    # Its ports are open a moment before it takes definitions.
    await_startup = [program("rabbitmqctl"), "--quiet", "await_startup", "--timeout", "60"]
    for command in (await_startup, apply := ["sh", str(FOLDER / "apply.sh"), str(passwords)], apply):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "secret" not in done.stdout + done.stderr
    yield node
    node.close()


def url_of(broker: Broker, user: str) -> str:
    port = urlsplit(broker.url).port
    return f"amqp://{user}:secret-of-the-{user}@127.0.0.1:{port}/%2F"


def test_the_definitions_that_compose_loads_make_the_same_users(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    done = subprocess.run(
        ["sh", FOLDER.parent / "make-secrets.sh", secrets], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    started = Started()
    try:
        node = rabbitmq.create(started)
        load = (FOLDER / "load.conf").read_text(encoding="utf-8").replace("/run/secrets", str(secrets))
        with (node.folder / "rabbitmq.conf").open("a", encoding="utf-8") as configuration:
            configuration.write(load)
        # It listens after it has loaded.
        node.launch(started, lambda: listens(node.amqp))
        with pytest.raises(ProbableAuthenticationError):
            pika.BlockingConnection(pika.URLParameters(node.url))
        for user in USERS:
            # Their addresses name compose's host.
            address = (secrets / f"broker_url_{user}").read_text()
            url = address.replace("@rabbitmq", f"@127.0.0.1:{node.amqp}/%2F")
            connection = pika.BlockingConnection(pika.URLParameters(url))
            with pytest.raises(ChannelClosedByBroker) as refused:
                _read_the_dead(connection.channel())
            assert refused.value.reply_code == 403
            if user in ("scheduler", "evaluator"):
                _publish(connection.channel())
            connection.close()
    finally:
        end(started)


def test_the_definitions_that_compose_loads_have_the_rights_of_the_table(tmp_path: Path) -> None:
    subprocess.run(["sh", FOLDER.parent / "make-secrets.sh", tmp_path], capture_output=True, check=True)
    loaded = json.loads((tmp_path / "rabbitmq_definitions.json").read_text(encoding="utf-8"))
    lines = (FOLDER / "rights.tsv").read_text(encoding="utf-8").splitlines()
    names = ("user", "configure", "write", "read")
    table = [dict(zip(names, line.split("\t"), strict=True)) for line in lines if not line.startswith("#")]
    assert loaded["permissions"] == [{**one, "vhost": "/"} for one in table]
    assert [(one["name"], one["tags"]) for one in loaded["users"]] == [(user, "") for user in USERS]


def test_the_definitions_are_those_of_the_code() -> None:
    loaded = json.loads((FOLDER / "definitions.json").read_text(encoding="utf-8"))
    queues = {one["name"]: one["arguments"] for one in loaded["queues"]}
    bindings = {(one["source"], one["destination"], one["routing_key"]) for one in loaded["bindings"]}
    assert queues == {one.name: dict(one.queue_arguments) for one in entities()}
    assert bindings == {(one.exchange.name, one.name, one.routing_key) for one in entities()}
    assert {one["name"] for one in loaded["exchanges"]} == {one.exchange.name for one in entities()}


def test_every_queue_has_a_policy_that_bounds_it_and_refuses_beyond(broker: Broker) -> None:
    def queues() -> dict[str, str]:
        return {one["name"]: one.get("policy", "") for one in json.loads(broker.manage("GET", "queues/%2F"))}

    # What it tells of queues follows a few seconds later.
    wait_until(lambda: all(queues().values()), 30, "a queue has no policy")
    policies = {one["name"]: one["definition"] for one in json.loads(broker.manage("GET", "policies/%2F"))}
    found = {queue: policies[name] for queue, name in queues().items()}
    assert set(found) == {one.name for one in entities()}
    for route in ROUTES:
        # Refused, not dropped: the sweep rings again.
        assert found[route.queue]["overflow"] == "reject-publish" and found[route.queue]["max-length"] >= 100_000
        assert found[route.queue]["delivery-limit"] == DELIVERY_LIMIT
        assert found[route.dead_queue]["max-length"] >= 10_000


def test_a_policy_that_differs_is_told_to_the_administrator(broker: Broker) -> None:
    def check() -> tuple[int, str]:
        command = ["sh", str(FOLDER / "apply.sh"), "--check"]
        done = subprocess.run(
            command, env=administrator_of(broker), capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout + done.stderr

    assert check() == (0, "policies are as in definitions.json\n")
    (policy, dead) = json.loads((FOLDER / "definitions.json").read_text(encoding="utf-8"))["policies"]
    path = f"policies/%2F/{policy['name']}"
    try:
        broker.manage("PUT", path, {**policy, "definition": {**policy["definition"], "max-length": 5}})
        code, said = check()
        assert code == 1 and f"policy {policy['name']} differs" in said and dead["name"] not in said
        broker.manage("DELETE", path)
        code, said = check()
        assert code == 1 and f"policy {policy['name']} differs" in said
    finally:
        broker.manage("PUT", path, policy)
    assert check()[0] == 0


def test_a_look_at_the_dead_letters_as_operations_describes_it(broker: Broker) -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"set_permissions --vhost / look '\^\$' '\^\$' '([^']+)'", text)
    ackmode = "reject_requeue_true"
    assert f"ackmode={ackmode}" in text and "purge_queue kontaktpflege.orders.ready.dead" in text
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        _to_the_dead(connection.channel())
    broker.manage("PUT", "users/look", {"password": "secret-of-the-look", "tags": "management"})
    try:
        broker.manage("PUT", "permissions/%2F/look", {"configure": "^$", "write": "^$", "read": pattern})
        asked = {"count": 10, "ackmode": ackmode, "encoding": "auto"}
        account = ("look", "secret-of-the-look")

        def look(queue: str) -> list[str]:
            answer = manage("POST", broker.management_url, f"queues/%2F/{queue}/get", account, asked)
            return [one["payload"] for one in json.loads(answer)]

        for _ in range(2):  # what was looked at is there again, a moment later
            wait_until(lambda: look(f"{ORDERS_READY}.dead") == ["{}"], 10, "the dead letter is not there")
        with pytest.raises(OSError, match="40"):
            look(ORDERS_READY)
    finally:
        broker.manage("DELETE", "users/look")
    command = [program("rabbitmqctl"), "--quiet", "purge_queue", f"{ORDERS_READY}.dead"]
    subprocess.run(command, env=administrator_of(broker), check=True, timeout=60)
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        assert connection.channel().basic_get(f"{ORDERS_READY}.dead")[0] is None


async def test_a_full_queue_refuses_what_is_published() -> None:
    node = Broker()
    try:
        async with opened(node.url) as bus:
            # No more than a bound: that it refuses instead of dropping is asked for by who declares the queue.
            full = {"pattern": f"^{ORDERS_READY}$", "apply-to": "queues", "definition": {"max-length": 1}}
            node.manage("PUT", "policies/%2F/full", full)
            # It holds a moment after it was made; from then on one more is too many.
            answers = [(await bus.publish(orders(1)))[0] for _ in range(50)]
            assert answers[0] and not answers[-1]
    finally:
        node.close()


def test_the_whole_flow_works(broker: Broker, postgres_url: str, smtp: MailServer, tmp_path: Path) -> None:
    stack = Stack(tmp_path, postgres_url, url_of(broker, "console"), smtp.oracle.url)
    try:
        stack.load_many(ORDERS)
        for role in ("scheduler", "evaluator", "mailer"):
            stack.start(role, BROKER_URL=url_of(broker, role))
        stack.answer("job", "run", JOB, "--on", "2026-11-23")
        stack.wait_for(lambda: len(smtp.accepted) == ORDERS, 90, "the letters")
        depths = {one["queue"]: one["messages"] for one in stack.answer("queues")["queues"]}
        assert set(depths) == {one.name for one in entities()} and None not in depths.values()
        assert set(stack.stop().values()) == {0}
    finally:
        stack.close()


def _declare(channel: BlockingChannel) -> None:
    channel.queue_declare("another", durable=True, arguments={"x-queue-type": "quorum"})


def _delete(channel: BlockingChannel) -> None:
    channel.queue_delete(ORDERS_READY)


def _purge(channel: BlockingChannel) -> None:
    channel.queue_purge(ORDERS_READY)


def _publish(channel: BlockingChannel) -> None:
    channel.confirm_delivery()
    channel.basic_publish(EXCHANGE.name, ORDERS_READY, b"{}")


def _around_the_exchange(channel: BlockingChannel) -> None:
    channel.confirm_delivery()
    channel.basic_publish("", ORDERS_READY, b"{}")


def _to_the_dead(channel: BlockingChannel) -> None:
    channel.confirm_delivery()
    channel.basic_publish(DEAD_LETTER_EXCHANGE.name, ORDERS_READY, b"{}")


def _take_orders(channel: BlockingChannel) -> None:
    channel.basic_get(ORDERS_READY)


def _take_jobs(channel: BlockingChannel) -> None:
    channel.basic_get(JOBS_DUE)


def _read_the_dead(channel: BlockingChannel) -> None:
    channel.basic_get(f"{ORDERS_READY}.dead")


def _bind(channel: BlockingChannel) -> None:
    channel.queue_bind(JOBS_DUE, EXCHANGE.name, "everything")


def _delete_exchange(channel: BlockingChannel) -> None:
    channel.exchange_delete(EXCHANGE.name)


_NOBODY = (_declare, _delete, _around_the_exchange, _to_the_dead, _read_the_dead, _bind, _delete_exchange)
FORBIDDEN: dict[str, tuple[Callable[[BlockingChannel], None], ...]] = {
    "scheduler": (*_NOBODY, _purge, _take_orders, _take_jobs),
    "evaluator": (*_NOBODY, _purge, _take_orders),
    "mailer": (*_NOBODY, _publish, _take_jobs),
    "console": (*_NOBODY, _purge, _publish, _take_orders, _take_jobs),
}


@pytest.mark.parametrize(("user", "act"), [(user, act) for user, acts in FORBIDDEN.items() for act in acts])
def test_s13_what_a_service_does_not_need_it_may_not_do(
    broker: Broker, user: str, act: Callable[[BlockingChannel], None]
) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url_of(broker, user)))
    with pytest.raises(ChannelClosedByBroker) as refused:
        act(connection.channel())
    assert refused.value.reply_code == 403
    connection.close()
