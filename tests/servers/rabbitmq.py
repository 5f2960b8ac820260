"""A RabbitMQ node of our own, with its own name service (epmd) and management interface."""

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


def start(started: Started) -> None:
    """Creates and starts it; raises ServersImpossible with the server's own words."""
    server = program("rabbitmq-server")
    say("starting RabbitMQ")
    folder = new_folder(started, "rabbitmq")
    log = folder / "log"
    amqp, management, distribution, epmd = (free_port() for _ in range(4))
    (folder / "rabbitmq.conf").write_text(_CONFIGURATION.format(amqp=amqp, management=management))
    (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
    (folder / "env.conf").touch()
    environment = _environment(folder, distribution, epmd)
    # Started here, not by the node, which would leave it behind.
    launch(started, [program("epmd"), "-port", str(epmd), "-address", "127.0.0.1"], folder / "epmd-log", environment)
    wait_until(lambda: listens(epmd), 10, f"epmd does not answer:\n{tail(folder / 'epmd-log')}")
    pid = launch(started, [server], log, environment)
    wait_until(
        lambda: not is_alive(pid) or (listens(amqp) and _manages(management)),
        90,
        f"RabbitMQ does not answer:\n{tail(log)}",
    )
    if not is_alive(pid):
        raise ServersImpossible(f"RabbitMQ ended at its start:\n{tail(log)}")
    started.environment["TEST_AMQP_URL"] = f"amqp://guest:guest@127.0.0.1:{amqp}/%2F"
    started.environment["TEST_AMQP_MANAGEMENT_URL"] = f"http://127.0.0.1:{management}"


def _environment(folder: Path, distribution: int, epmd: int) -> dict[str, str]:
    return {
        "HOME": str(folder),  # the Erlang cookie
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "kp-test@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
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
