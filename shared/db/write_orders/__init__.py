"""The write order's states: this package is the only code that writes `write_orders.state`.

    planned --release--> queued --claim (T1)--> sending/claimed --T2--> sending/handed_over --T3--> ...

`planning` makes, swaps, withdraws and releases; `claims` takes orders, `intents` records the intent, `outcomes`
settles; `interventions` is what people do; `upkeep` repairs. See docs/write-order-states.md.
"""

from shared.db.write_orders.interventions import (
    JOB_DELETED,
    OTHER_SCHEDULE,
    follow_letter,
    move_planned_orders,
    withdraw_open_orders_of_job,
    withdraw_open_orders_of_run,
    withdraw_passed_while_off,
)

__all__ = [
    "JOB_DELETED",
    "OTHER_SCHEDULE",
    "follow_letter",
    "move_planned_orders",
    "withdraw_open_orders_of_job",
    "withdraw_open_orders_of_run",
    "withdraw_passed_while_off",
]
