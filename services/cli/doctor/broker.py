"""What is asked of the broker: reach, queues as they should be, rights of one service, somebody who reads."""

from collections.abc import Iterator

from services.cli.doctor.findings import Answer, Installation, Trouble
from shared.bus.connect import examine
from shared.bus.interface import QueueDepth
from shared.bus.rabbitmq_examination import Topology
from shared.bus.topology import ROUTES
from shared.errors import Unavailable

_PLACE = "setting BROKER_URL"
_PREPARE = "or prepare the broker with deploy/rabbitmq/apply.sh"
#: What the broker says when it does not let us in, and what to do.
_REFUSALS = (
    ("ACCESS_REFUSED", "correct user and password, percent-encoded where they have special characters"),
    ("access to vhost", "give the user its rights with `rabbitmqctl set_permissions`, " + _PREPARE),
    ("vhost", "correct the vhost at the end (%2F is /), or make it with `rabbitmqctl add_vhost`"),
)


async def broker(installation: Installation) -> Answer:
    """RabbitMQ with our topology; memory:// needs nothing."""
    try:
        seen = await examine(installation.settings.broker_url.get_secret_value(), installation.role)
    except Unavailable as exc:
        fixes = (fix for words, fix in _REFUSALS if words in str(exc))
        return [Trouble(_PLACE, str(exc), next(fixes, "start the broker, or correct the address"))]
    if seen is None:
        return "memory:// (one process, `run all`)"
    troubles = [*_about_topology(seen, installation.role), *_about_readers(seen.queues)]
    return troubles or f"{seen.address}, {len(seen.queues)} queues"


def _about_topology(seen: Topology, role: str) -> Iterator[Trouble]:
    place = f"broker {seen.address}"
    if seen.missing:
        fix = f"start a service that may declare them, {_PREPARE}"
        yield Trouble(place, f"there is no {', no '.join(seen.missing)}", fix)
    for what, words in seen.different.items():
        fix = "stop the services, delete it (`rabbitmqctl delete_queue NAME`), start them; rows ring again"
        yield Trouble(f"{place}, {what}", f"is not as the services declare it: {words}", fix)
    for what in seen.forbidden:
        fix = "give this user the row of its service in deploy/rabbitmq/rights.tsv: deploy/rabbitmq/apply.sh"
        yield Trouble(place, f"the {role}'s user may not {what}", fix)


def _about_readers(queues: list[QueueDepth]) -> Iterator[Trouble]:
    for route in ROUTES:
        for one in queues:
            if one.queue == route.queue and one.messages and not one.consumers:
                value = f"{one.messages} messages, and nobody reads them"
                yield Trouble(f"queue {one.queue}", value, f"start one: `kontaktpflege run {route.reader}`")
            if one.queue == route.dead_queue and one.messages:
                value = f"{one.messages} messages that nobody could read"
                fix = "nothing is lost; keep one for the bug report, then empty it (`rabbitmqctl purge_queue NAME`)"
                yield Trouble(f"queue {one.queue}", value, fix, grave=False)
