"""What the log and the metrics say of settled letters."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from shared.db.write_orders.outcomes import Settlement
from shared.metrics import MAILS


def report_settled(log: Any, settlements: Sequence[Settlement], kept: set[int]) -> None:
    """Counts the outcomes of a group and logs them; `kept`: the orders whose row took its outcome, others are late."""
    counts = Counter((one.outcome, str(one.code)[0] if one.code else "none") for one in settlements)
    for (outcome, smtp_class), count in counts.items():
        MAILS.labels(outcome.replace(" ", "_"), smtp_class).inc(count)
    sent: dict[tuple[int | None, bool], list[int]] = {}
    for one in settlements:
        late = one.order_id not in kept
        if one.state == "sent":
            sent.setdefault((one.code, late), []).append(one.order_id)
        else:
            fields = {"order": one.order_id, "state": one.state, "code": one.code, "late": late}
            log.warning("settled", action="settled", reason=one.reason, **fields)
    for (code, late), ids in sent.items():
        # One line for what went well together: a line for each letter costs as much as composing it.
        log.info("settled", action="settled", state="sent", orders=ids, code=code, late=late)
