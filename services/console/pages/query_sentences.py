"""Filters as sentences that people read: 'hat am Versandtag Geburtstag'."""

from collections.abc import Callable, Mapping
from typing import Any

from services.console.formats import formats_of
from services.console.visits import Visit

#: Names of fields; also of statuses' kinds and of kinds of applications.
FIELDS = {
    "has_email": "E-mail address",
    "in_pool": "Applicant pool",
    "status": "Status",
    "meta_status": "Stage",
    "kind": "Kind",
    "vacancy": "Vacancy",
    "department": "Department",
    "location": "Location",
    "source": "Source",
    "language": "Language",
    "recruiter": "Recruiter",
    "birthday_in_days": "Birthday",
    "days_since_last_contact": "Last contact",
    "dwell_months": "Dwell time",
    "received_on": "Received",
    "custom": "Custom field",
}
METAS = {
    "new": "new application",
    "in_process": "in process",
    "interview": "interview",
    "offer": "offer made",
    "pool": "in the pool",
    "hired": "hired",
    "rejected": "rejected",
}
KINDS = {"application": "application", "pool": "pool candidate", "other": "other contact"}
_Say = Callable[..., str]


def sentence(visit: Visit, one: Mapping[str, Any]) -> str:
    """One filter (as in a setup file) in the person's language."""
    name = str(one["field"])
    say: _Say = visit.text
    text = _custom(one, say) if name.startswith("custom.") else _SENTENCES[name](one, say, visit.language)
    return say("not: %(sentence)s", sentence=text) if one.get("negate") else text


def sentences(visit: Visit, filters: list[dict[str, Any]]) -> list[str]:
    """All of a query's filters."""
    return [sentence(visit, one) for one in filters]


def label(say: _Say, field: str) -> str:
    """The name of a field."""
    return say(FIELDS.get(field, field))


def _flag(yes: str, no: str) -> Callable[[Mapping[str, Any], _Say, str], str]:
    return lambda one, say, _: say(yes if one["is"] else no)


def _listed(one: Mapping[str, Any], say: _Say, _: str) -> str:
    values = [shown(say, str(one["field"]), str(value)) for value in one.get("in") or one.get("not_in") or ()]
    message = "%(field)s is %(values)s" if "in" in one else "%(field)s is not %(values)s"
    joined = f" {say('or')} ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)
    return say(message, field=label(say, str(one["field"])), values=joined)


def shown(say: _Say, field: str, value: str) -> str:
    """A value as people write it."""
    words = METAS if field == "meta_status" else KINDS if field == "kind" else {}
    return say(words[value]) if value in words else value


def _birthday(one: Mapping[str, Any], say: _Say, _: str) -> str:
    first, last = one["from"], one["to"]
    if first == last == 0:
        return say("has birthday on the day of dispatch")
    return say("has birthday in %(first)s to %(last)s days", first=first, last=last)


def _last_contact(one: Mapping[str, Any], say: _Say, _: str) -> str:
    if "never" in one:
        return say("was never contacted")
    if "more_than" in one:
        return say("last contact more than %(days)s days ago", days=one["more_than"])
    return say("last contact at most %(days)s days ago", days=one["at_most"])


def _dwell(one: Mapping[str, Any], say: _Say, _: str) -> str:
    if "more_than" in one:
        return say("dwell time more than %(months)s months", months=one["more_than"])
    return say("dwell time at most %(months)s months", months=one["at_most"])


def _received(one: Mapping[str, Any], say: _Say, language: str) -> str:
    day = formats_of(language)["day"]
    if "from" in one and "to" in one:
        return say("received from %(first)s to %(last)s", first=day(one["from"]), last=day(one["to"]))
    if "from" in one:
        return say("received on or after %(first)s", first=day(one["from"]))
    return say("received on or before %(last)s", last=day(one["to"]))


def _custom(one: Mapping[str, Any], say: _Say) -> str:
    name = str(one["field"]).removeprefix("custom.")
    if "equals" in one:
        return say("custom field %(name)s is “%(value)s”", name=name, value=one["equals"])
    return say("custom field %(name)s contains “%(value)s”", name=name, value=one["contains"])


_LISTED = (*("status", "meta_status", "kind", "vacancy", "department", "location", "source", "language", "recruiter"),)
_SENTENCES: dict[str, Callable[[Mapping[str, Any], _Say, str], str]] = {
    "has_email": _flag("has an e-mail address", "has no e-mail address"),
    "in_pool": _flag("is in the applicant pool", "is not in the applicant pool"),
    **dict.fromkeys(_LISTED, _listed),
    "birthday_in_days": _birthday,
    "days_since_last_contact": _last_contact,
    "dwell_months": _dwell,
    "received_on": _received,
}
