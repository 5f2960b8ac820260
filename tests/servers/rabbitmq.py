"""A RabbitMQ node of our own, with its own name service (epmd) and management interface."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.servers.fresh import manage
from tests.servers.processes import free_port, launch, listens, new_folder, tail
from tests.servers.programs import program
from tests.servers.state import ServersImpossible, Started, is_alive, say, wait_until

_CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
log.console = true
log.console.level = warning
"""


@dataclass(frozen=True, slots=True)
class RabbitNode:
    """A node with its folder and ports; it can be launched again after it was stopped or killed."""

    folder: Path
    amqp: int
    management: int
    distribution: int
    epmd: int
    metrics: int

    @property
    def environment(self) -> dict[str, str]:
        """What the node's own programs, `rabbitmqctl` too, need to find it."""
        return _environment(self.folder, self.distribution, self.epmd)

    @property
    def url(self) -> str:
        """Its AMQP address."""
        return f"amqp://guest:guest@127.0.0.1:{self.amqp}/%2F"

    @property
    def management_url(self) -> str:
        """Its management interface."""
        return f"http://127.0.0.1:{self.management}"

    @property
    def metrics_url(self) -> str:
        """Where its own plugin answers Prometheus."""
        return f"http://127.0.0.1:{self.metrics}"

    def launch(self, started: Started, answers: Callable[[], bool] | None = None) -> int:
        """Starts it and waits until it answers; its process id. Raises ServersImpossible with its own words.

        `answers`: what to wait for where its configuration knows no guest, or no plain connections.
        """
        answers = answers or (lambda: listens(self.amqp) and _manages(self.management))
        log = self.folder / "log"
        pid = launch(started, [program("rabbitmq-server")], log, self.environment)
        wait_until(
            lambda: not is_alive(pid) or answers(),
            90,
            f"RabbitMQ does not answer:\n{tail(log)}",
        )
        if not is_alive(pid):
            raise ServersImpossible(f"RabbitMQ ended at its start:\n{tail(log)}")
        return pid


def create(started: Started, *, with_metrics: bool = False) -> RabbitNode:
    """A new node, not yet launched; its name service runs. `with_metrics`: its plugin answers Prometheus."""
    folder = new_folder(started, "rabbitmq")
    node = RabbitNode(folder, *(free_port() for _ in range(5)))
    configuration = _CONFIGURATION.format(amqp=node.amqp, management=node.management)
    if with_metrics:
        configuration += f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {node.metrics}\n"
    (folder / "rabbitmq.conf").write_text(configuration)
    plugins = "rabbitmq_management,rabbitmq_prometheus" if with_metrics else "rabbitmq_management"
    (folder / "enabled_plugins").write_text(f"[{plugins}].\n")
    (folder / "env.conf").touch()
    # Started here, not by the node, which would leave it behind.
    command = [program("epmd"), "-port", str(node.epmd), "-address", "127.0.0.1"]
    launch(started, command, folder / "epmd-log", node.environment)
    wait_until(lambda: listens(node.epmd), 10, f"epmd does not answer:\n{tail(folder / 'epmd-log')}")
    return node


def start(started: Started) -> None:
    """Creates and starts it; raises ServersImpossible with the server's own words."""
    program("rabbitmq-server")
    say("starting RabbitMQ")
    node = create(started, with_metrics=True)
    node.launch(started)
    started.environment["TEST_AMQP_URL"] = node.url
    started.environment["TEST_AMQP_MANAGEMENT_URL"] = node.management_url
    started.environment["TEST_AMQP_METRICS_URL"] = node.metrics_url


def _environment(folder: Path, distribution: int, epmd: int) -> dict[str, str]:
    return {
        "HOME": str(folder),  # the Erlang cookie
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "kp-test@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        # The runtime spins for work that may come, at the cost of whoever shares its cores. A dead letter that is not
        # confirmed is tried again after three minutes, or so many milliseconds.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} "
        "+sbwt none +sbwtdcpu none +sbwtdio none -rabbit dead_letter_worker_publisher_confirm_timeout 10000",
        # Files that do not exist or are empty: nothing of the machine's own node is read.
        "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }


def _manages(port: int) -> bool:
    try:
        manage("GET", f"http://127.0.0.1:{port}", "overview", ("guest", "guest"))
    except OSError:
        return False
    return True
