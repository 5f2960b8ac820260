"""The messages: frozen, versioned, ids and scalars only (I22), as JSON under one KiB."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import orjson

from shared.errors import KontaktpflegeError

#: Version of the wire format. A reader leaves a message of a higher version to a newer reader's queue.
WIRE_VERSION = 1
#: Ids are 64-bit integers.
GREATEST_ID = 2**63 - 1


class UndecodableMessage(KontaktpflegeError):
    """A message on the queue is not one of ours; it goes to the dead-letter queue."""


@dataclass(frozen=True, slots=True)
class JobDue:
    """A dispatch run wants to be synchronised (scheduler -> evaluator)."""

    name: ClassVar[str] = "job_due"
    run_id: int


@dataclass(frozen=True, slots=True)
class WriteOrderReady:
    """A queued write order wants to be sent (evaluator or sweep -> mailer)."""

    name: ClassVar[str] = "write_order_ready"
    order_id: int


Message = JobDue | WriteOrderReady
_CLASSES: dict[str, type[JobDue] | type[WriteOrderReady]] = {c.name: c for c in (JobDue, WriteOrderReady)}


def encode(message: Message) -> bytes:
    """The message as JSON bytes."""
    return json.dumps({"v": WIRE_VERSION, "type": message.name, **asdict(message)}, separators=(",", ":")).encode()


def decode(body: bytes, expected: type[JobDue] | type[WriteOrderReady]) -> Message:
    """The message in `body`; raises UndecodableMessage for anything that is not exactly one of the `expected` kind."""
    try:
        fields: dict[str, Any] = orjson.loads(body)
        if fields.pop("v") != WIRE_VERSION:
            raise UndecodableMessage("unknown wire version")
        cls = _CLASSES[fields.pop("type")]
        if cls is not expected:
            raise UndecodableMessage(f"{cls.name} does not belong on the queue of {expected.name}")
        if not all(type(value) is int and 0 < value <= GREATEST_ID for value in fields.values()):
            raise UndecodableMessage("ids must be whole numbers that the database knows")
        return cls(**fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise UndecodableMessage(f"not a message of this system: {exc}") from exc


def headers_of(traceparents: Sequence[str], index: int) -> dict[str, str] | None:
    """What goes beside the body of the message at `index`: its trace, under the name of W3C Trace Context."""
    return {"traceparent": traceparents[index]} if traceparents else None


def traceparent_in(headers: Mapping[str, Any] | None) -> str | None:
    """The trace that a message came with; None for none, and for what cannot be one."""
    found = headers.get("traceparent") if headers else None
    return found if isinstance(found, str) else None
