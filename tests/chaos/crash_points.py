"""Places at which a service can be killed to the instruction: before or after a named function of its code.

The product has no hooks. A service that the chaos run starts gets at most one point put around one function of its
modules, and every other service runs the code as it is shipped; a point whose function is gone fails at once (S34).
"""

import inspect
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from shared.bus.messages import JobDue, WriteOrderReady

Counts = Callable[[tuple[Any, ...], Any], bool]


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """One place. `counts` looks at the function's arguments and, after it, at its result: not every call counts."""

    name: str
    when: Literal["before", "after"]
    #: module:function or module:Class.method; several where the stacks differ.
    where: tuple[str, ...]
    counts: "Counts" = lambda _arguments, _result: True
    #: Reached only by a service that is told to end.
    on_sigterm: bool = False

    @property
    def role(self) -> str:
        """The service that passes it."""
        return self.name.partition(":")[0]


_PUBLISH = ("shared.bus.rabbitmq:RabbitBus.publish", "shared.bus.embedded:EmbeddedBus.publish")
_TICK, _SWEEP, _CHORES = "services.scheduler.tick", "services.scheduler.sweep", "services.scheduler.chores"
_EVALUATE, _DISPATCH = "services.evaluator.evaluate", "shared.db.dispatch"
_DELIVER, _MAILER, _LETTERS = "services.mailer.deliver", "services.mailer.service", "services.mailer.letters:Letters"
_JOURNAL, _TRANSACTION = "services.mailer.journal", "services.mailer.smtp_transaction:Transaction"


def _always(_arguments: tuple[Any, ...], _result: Any) -> bool:
    return True


def _found(_arguments: tuple[Any, ...], result: Any) -> bool:
    return bool(result)


def _claimed(_arguments: tuple[Any, ...], result: Any) -> bool:
    return bool(result.orders)


def _publishes(kind: type) -> Counts:
    return lambda arguments, _: any(isinstance(message, kind) for message in arguments[1])


def _before(name: str, *where: str, counts: Counts = _always) -> CrashPoint:
    return CrashPoint(name, "before", where, counts)


def _after(name: str, *where: str, counts: Counts = _always) -> CrashPoint:
    return CrashPoint(name, "after", where, counts)


#: The chore comes first: it is there once a day. What a killed mailer leaves comes after what kills it so.
POINTS: tuple[CrashPoint, ...] = (
    _after("scheduler: chore taken", f"{_CHORES}:take_chore", counts=_found),
    _before("scheduler: before runs are recorded", f"{_TICK}:_record_runs"),
    _after("scheduler: runs recorded, not committed", f"{_TICK}:_record_runs"),
    _before("scheduler: runs committed", f"{_TICK}:wake_runs_with_leftovers"),
    _after("scheduler: runs chosen to ring, not committed", f"{_TICK}:runs_to_ring", counts=_found),
    _before("scheduler: runs chosen, job.due not published", *_PUBLISH, counts=_publishes(JobDue)),
    _after("scheduler: job.due published", *_PUBLISH, counts=_publishes(JobDue)),
    _before("scheduler: sweep begun", f"{_SWEEP}:return_expired_claims"),
    _after("scheduler: claims returned, not committed", f"{_SWEEP}:return_expired_claims"),
    _after("scheduler: sweep not committed", f"{_SWEEP}:resend_unclear"),
    _after("scheduler: depths stored, not committed", f"{_SWEEP}:store_depths"),
    _after("scheduler: orders chosen to ring, not committed", f"{_SWEEP}:choose_to_ring", counts=_found),
    _before("scheduler: orders chosen, order.write not published", *_PUBLISH, counts=_publishes(WriteOrderReady)),
    _before("scheduler: order.write published, not marked", f"{_SWEEP}:mark_rung"),
    _after("scheduler: orders marked, not committed", f"{_SWEEP}:mark_rung"),
    _before("evaluator: run taken", f"{_EVALUATE}:synchronise"),
    _after("evaluator: recipients resolved", "shared.db.write_orders.planning:_materialise"),
    _after("evaluator: plan made, nothing released", f"{_DISPATCH}:synchronise_plan"),
    _after("evaluator: orders released, not committed", f"{_DISPATCH}:release", counts=_found),
    _after("evaluator: run synchronised, not committed", f"{_EVALUATE}:synchronise"),
    _before("evaluator: run committed, no doorbell", f"{_EVALUATE}:_ring"),
    _after("evaluator: orders chosen to ring, not committed", f"{_EVALUATE}:choose_to_ring", counts=_found),
    _before("evaluator: orders chosen, order.write not published", *_PUBLISH, counts=_publishes(WriteOrderReady)),
    _before("evaluator: order.write published, not marked", f"{_EVALUATE}:mark_rung"),
    _after("evaluator: orders marked, not committed", f"{_EVALUATE}:mark_rung"),
    _after("evaluator: run done, not acked", f"{_EVALUATE}:evaluate"),
    _after("evaluator: job.due acked", f"{_EVALUATE}:_deal_with"),
    _before("mailer: doorbells taken", f"{_DELIVER}:claim"),
    _after("mailer: T1 not committed", f"{_DELIVER}:claim", counts=_claimed),
    _after("mailer: letters loaded, T1 not committed", f"{_LETTERS}.prepare"),
    _after("mailer: T1 committed", f"{_DELIVER}:Deliverer.claim", counts=lambda _, found: bool(found[0].orders)),
    _before("mailer: composing", f"{_LETTERS}.write"),
    _after("mailer: composed", f"{_LETTERS}.write"),
    _before("mailer: connecting", "services.mailer.smtp:_greeted"),
    _after("mailer: greeted", "services.mailer.smtp:_greeted"),
    _after("mailer: 354 received", f"{_TRANSACTION}._say_envelope"),
    _after("mailer: body written", f"{_TRANSACTION}._write_body"),
    _before("mailer: T2 begun", f"{_DELIVER}:intend"),
    _after("mailer: T2 not committed", "shared.db.write_orders.intents:_ask"),
    _before("mailer: T2 committed, no dot", f"{_TRANSACTION}._finish"),
    _after(
        "mailer: dot written",
        "services.mailer.smtp_conversation:SmtpConversation.write",
        counts=lambda arguments, _: arguments[1].startswith(b".\r\n"),
    ),
    _after("mailer: answered, not in the journal", f"{_TRANSACTION}._finish"),
    _after("mailer: journal written, not synced", f"{_JOURNAL}:_write_all"),
    _after("mailer: journal synced, T3 not begun", f"{_JOURNAL}:Journal.append"),
    _before("mailer: journal adopted, not settled", f"{_MAILER}:settle"),
    _after("mailer: contact entries written, T3 not committed", "shared.db.write_orders.outcomes:_log_contacts"),
    _after("mailer: T3 not committed", f"{_DELIVER}:settle"),
    _before("mailer: T3 committed, journal not emptied", f"{_JOURNAL}:Journal.settle"),
    _after("mailer: journal settled from, not committed", f"{_MAILER}:settle"),
    _after("mailer: journal emptied, not acked", f"{_JOURNAL}:Journal.settle"),
    _before("mailer: about to ack", f"{_MAILER}:Acks.flush"),
    _after("mailer: acked", f"{_MAILER}:Acks.flush"),
    _after("mailer: leases renewed, not committed", f"{_DELIVER}:renew"),
    CrashPoint("mailer: draining", "before", (f"{_MAILER}:_drain",), on_sigterm=True),
    CrashPoint("mailer: drained, not signed off", "after", (f"{_MAILER}:_drain",), on_sigterm=True),
)


def point_named(name: str) -> CrashPoint:
    """The point of that name; raises KeyError."""
    return {point.name: point for point in POINTS}[name]


def install(point: CrashPoint, passes: int, record: Path) -> None:
    """Puts the point around its functions: at the `passes`-th pass that counts the process kills itself.

    `record` gets a line with the point's name and the process id before. Raises AttributeError for a function that is
    not there any more.
    """
    left = [passes]

    def passed(arguments: tuple[Any, ...], result: Any) -> None:
        if not point.counts(arguments, result):
            return
        left[0] -= 1
        if left[0] <= 0:
            with record.open("a", encoding="utf-8") as file:
                file.write(f"{os.getpid()} {point.name}\n")
            os.kill(os.getpid(), signal.SIGKILL)

    for where in point.where:
        owner, name = _owner(where)
        setattr(owner, name, _around(getattr(owner, name), point.when, passed))


def _owner(where: str) -> tuple[Any, str]:
    module, _, path = where.partition(":")
    owner: Any = import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name


def _around(original: Any, when: str, passed: Callable[[tuple[Any, ...], Any], None]) -> Any:
    if inspect.iscoroutinefunction(original):

        @wraps(original)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            if when == "before":
                passed(args, None)
            result = await original(*args, **kwargs)
            if when == "after":
                passed(args, result)
            return result

        return asynchronous

    @wraps(original)
    def synchronous(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            passed(args, None)
        result = original(*args, **kwargs)
        if when == "after":
            passed(args, result)
        return result

    return synchronous
