"""The servers as containers, where a Docker engine runs."""

import shutil
import subprocess
from urllib.parse import urlsplit

from tests.servers.given import wait_for_amqp, wait_for_postgresql
from tests.servers.postgresql import FLEETING
from tests.servers.state import ServersImpossible, Started, say


def is_running() -> bool:
    """Whether there is an engine that answers."""
    return shutil.which("docker") is not None and _docker("info").returncode == 0


def runs(container: str) -> bool:
    """Whether the container is still there and running."""
    return _docker("inspect", "--format", "{{.State.Running}}", container).stdout.strip() == "true"


def remove(container: str) -> None:
    """Ends and removes a container with its data."""
    _docker("rm", "--force", "--volumes", container)


def start_rabbitmq(started: Started) -> None:
    """RabbitMQ 4 with its management interface."""
    container = _run(started, "rabbitmq:4-management", [], 5672, 15672, 15692)
    started.environment["TEST_AMQP_URL"] = f"amqp://guest:guest@{_address(container, 5672)}/%2F"
    started.environment["TEST_AMQP_MANAGEMENT_URL"] = f"http://{_address(container, 15672)}"
    started.environment["TEST_AMQP_METRICS_URL"] = f"http://{_address(container, 15692)}"
    wait_for_amqp(started.environment["TEST_AMQP_URL"], 90)


def start_postgresql(started: Started) -> None:
    """PostgreSQL 16."""
    options = ["--env", "POSTGRES_HOST_AUTH_METHOD=trust", "--env", "POSTGRES_USER=kp_test"]
    settings = {"max_connections": "200", **({} if started.durable else FLEETING)}
    arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    container = _run(started, "postgres:16", options, 5432, arguments=arguments)
    started.environment["TEST_DATABASE_URL"] = f"postgresql://kp_test@{_address(container, 5432)}/postgres"
    wait_for_postgresql(started.environment["TEST_DATABASE_URL"], 60)


def _run(started: Started, image: str, options: list[str], *ports: int, arguments: list[str] | None = None) -> str:
    say(f"starting a container of {image}")
    publish = [option for port in ports for option in ("--publish", f"127.0.0.1::{port}")]
    finished = _docker("run", "--detach", *publish, *options, image, *(arguments or []))
    if finished.returncode != 0:
        raise ServersImpossible(f"docker run {image} failed: {finished.stderr.strip()}")
    container = finished.stdout.strip()
    started.containers.append(container)
    return container


def _address(container: str, port: int) -> str:
    parts = urlsplit("//" + _docker("port", container, f"{port}/tcp").stdout.splitlines()[0])
    return f"127.0.0.1:{parts.port}"


def _docker(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
