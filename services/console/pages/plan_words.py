"""What a change does to the letters that are planned already, in words."""

from datetime import datetime

from services.console.formats import formats_of
from services.console.visits import Visit
from shared.db.plan_effect import PlanEffect

#: Fields of a job that decide who gets a letter, and those that decide from whom.
_WHO, _FROM = {"query", "repeat_guard_days", "priority"}, {"sender", "sender_fallback"}


def plan_sentences(visit: Visit, plan: PlanEffect, changed: set[str], zone: str, is_on: bool) -> list[str]:
    """What saving the changed fields of a job does to its planned letters; says plainly where that is nothing."""
    formats, count = formats_of(visit.language), formats_of(visit.language)["number"](plan.planned)
    found = []
    for one in plan.moved:
        values = {"count": formats["number"](one.count), "day": formats["day"](one.day)}
        values |= {"before": _moment(visit, one.before, zone), "after": _moment(visit, one.after, zone)}
        if one.after is None:
            found.append(visit.text("%(count)s planned letters of %(day)s are withdrawn: no dispatch.", **values))
        elif one.before is None:
            found.append(visit.text("%(count)s withdrawn letters of %(day)s come back for %(after)s.", **values))
        else:
            said = visit.text("%(count)s planned letters of %(day)s go out on %(after)s, not on %(before)s.", **values)
            found.append(said)
    if not plan.planned:
        return [*found, visit.text("No letter is planned now: the change works from the next planning on.")]
    if changed & _WHO and is_on:
        found.append(
            visit.text(
                "The plans with their %(count)s letters are looked at anew at once: who no longer matches is taken "
                "out, who newly matches comes in.",
                count=count,
            )
        )
    elif changed & _WHO:
        later = visit.text("The plans with their %(count)s letters are looked at anew when the job is on.", count=count)
        found.append(later)
    if changed & _FROM:
        found.append(visit.text("%(count)s planned letters go out with the new sender.", count=count))
    if "valid_days" in changed:
        said = visit.text("%(count)s planned letters may wait as long as is said now before they lapse.", count=count)
        found.append(said)
    if not found and "letter" not in changed:
        found.append(visit.text("The %(count)s planned letters stay as they are.", count=count))
    return found


def settings_sentences(visit: Visit, changed: set[str], planned: int) -> list[str]:
    """What saving the changed settings does to letters, and from when on it works."""
    count = formats_of(visit.language)["number"](planned)
    found = []
    if changed & {"frequency_cap_days", "leap_day_birthday"}:
        if planned:
            found.append(
                visit.text(
                    "The plans with their %(count)s letters are looked at anew at once; who no longer gets a letter is "
                    "taken out, who now gets one comes in. Jobs whose next dispatch changes stand above.",
                    count=count,
                )
            )
        found.append(visit.text("What is not planned yet follows from its planning on."))
    if changed & {"sender", "company"}:
        found.append(
            visit.text("%(count)s planned letters name the new sender or company where they name one.", count=count)
        )
    if "time_zone" in changed:
        found.append(visit.text("No planned letter changes: every job has a time zone of its own."))
    if "catch_up_hours" in changed:
        found.append(visit.text("No planned letter changes; it works from the next missed dispatch on."))
    if "sync_minutes" in changed:
        found.append(visit.text("No planned letter changes; plans are looked at in this rhythm from the next look on."))
    if changed & {"reduce_core_data", "core_data_keeps"}:
        found.append(
            visit.text(
                "Applications are reduced by this from now on: after a rejection, or in the coming night. Their "
                "planned letters are withdrawn then, and what is erased cannot be brought back."
            )
        )
    if "duplicate_keys" in changed:
        found.append(
            visit.text(
                "Who is one person is decided anew in the coming night; of two letters that one person would get then, "
                "one is withdrawn."
            )
        )
    return found


def _moment(visit: Visit, at: datetime | None, zone: str) -> str:
    return formats_of(visit.language)["moment"](at, zone)
