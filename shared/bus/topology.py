"""Who sends what to whom. Both transports declare exactly these entities."""

from dataclasses import dataclass

from kombu.entity import Exchange, Queue

from shared.bus.messages import JobDue, Message, WriteOrderReady

EXCHANGE = Exchange("kontaktpflege", type="direct", durable=True)
DEAD_LETTER_EXCHANGE = Exchange("kontaktpflege.dead", type="direct", durable=True)
#: Deliveries of one message before the broker moves it to the dead-letter queue.
DELIVERY_LIMIT = 5


@dataclass(frozen=True)
class Route:
    """One hop: the message, who sends it, the queue it waits in, who reads it."""

    message: type[JobDue] | type[WriteOrderReady]
    senders: tuple[str, ...]
    queue: str
    reader: str

    @property
    def dead_queue(self) -> str:
        """Where what could not be read ends up."""
        return f"{self.queue}.dead"


ROUTES = (
    Route(JobDue, ("scheduler",), "kontaktpflege.jobs.due", "evaluator"),
    Route(WriteOrderReady, ("evaluator", "scheduler"), "kontaktpflege.orders.ready", "mailer"),
)


def route_of(message: Message | type[JobDue] | type[WriteOrderReady]) -> Route:
    """The route of a message or message class."""
    cls = message if isinstance(message, type) else type(message)
    return next(route for route in ROUTES if route.message is cls)


def entities() -> list[Queue]:
    """Every queue with its exchange and arguments, dead-letter queues first."""
    dead = [
        Queue(
            r.dead_queue,
            DEAD_LETTER_EXCHANGE,
            routing_key=r.queue,
            durable=True,
            queue_arguments={"x-queue-type": "quorum"},
        )
        for r in ROUTES
    ]
    live = [
        Queue(
            r.queue,
            EXCHANGE,
            routing_key=r.queue,
            durable=True,
            queue_arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": DELIVERY_LIMIT,
                "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE.name,
                "x-dead-letter-routing-key": r.queue,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        )
        for r in ROUTES
    ]
    return dead + live
