"""What of the database is about one person: table by table in the file, or named here with the reason why not.

Every column of a table that is in the file is in it too, unless it is named here. So what is added to a table comes
into the file by itself, and a new table has to be decided about (tests/architecture/test_evidence_contents.py).
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, Table

#: Tables whose rows about the person are in the file, with the name of the list.
LISTS: Mapping[str, str] = {
    "persons": "index",
    "earlier_persons": "index",
    "applications": "applications",
    "custom_fields": "applications",
    "contact_entries": "contacts",
    "blocks": "blocks",
    "write_orders": "letters",
    "attempts": "letters",
    "approvals": "letters",
    "returned_mails": "returned",
    "candidate_requests": "requests",
    "consent_requests": "consents",
    "suppressions": "wishes",
    "wishes_to_note": "wishes",
    "events": "history",
    "event_seals": "history",
}

_COPY = "a copy, for comparing"
_HERE = "what it stands with in the file"
_NAMED = "told by the name of what it refers to"
_WORK = "how services pass it on; changes while they do, and says nothing about the person"
_UPLOAD = "which upload brought the row, until another one does"

#: Of these tables, columns that are not in the file.
LEFT_OUT: Mapping[str, Mapping[str, str]] = {
    "earlier_persons": {"application_id": _HERE, "person_id": "told as `earlier_records`"},
    "applications": {
        "person_id": _HERE,
        "status_id": _NAMED,
        "birth_month_day": _COPY,
        **{f"{name}_folded": _COPY for name in ("language", "vacancy", "department", "location", "source")},
        "recruiter_folded": _COPY,
        "import_id": _UPLOAD,
        "import_line": _UPLOAD,
    },
    "custom_fields": {"application_id": _HERE, "name_folded": _COPY, "value_folded": _COPY},
    "contact_entries": {"application_id": _NAMED, "import_id": _UPLOAD, "import_line": _UPLOAD},
    "blocks": {"lineage_id": _NAMED},
    "write_orders": {
        **dict.fromkeys(("application_id", "letter_id", "job_id", "lineage_id", "claimed_status_id"), _NAMED),
        **dict.fromkeys(("ring_at", "rung_at", "phase", "lease_token", "lease_until"), _WORK),
        **dict.fromkeys(("claimed_epoch", "fruitless_claims"), _WORK),
    },
    "attempts": {"order_id": _HERE, "lease_token": _WORK},
    "approvals": {"job_id": _HERE, "order_id": _HERE},
    "candidate_requests": {"application_id": _NAMED},
    "consent_requests": {"job_id": _NAMED, "status_id": _NAMED, "prior_status_id": _NAMED},
    "wishes_to_note": dict.fromkeys(
        ("id", "person_id", "taken_back"), "until it is noted, within seconds; the wish itself is told of the person"
    ),
    "suppressions": {
        **dict.fromkeys(("key_hash", "known_by"), "told is what it is the hash of"),
        **dict.fromkeys(("holder_hash", "person_id"), "whose note it is: perhaps another's, with the same address"),
    },
    "event_seals": {
        "event_id": _HERE,
        "number": "told as `seal`",
        "salt": "the key of the digest of words that stand beside it",
        "words": "a digest of words that stand beside it",
    },
}

_SETUP = "set up by people; about nobody who applies"
_RUNNING = "what services keep about themselves"
#: Tables without anything about the person.
NOT_IN_IT: Mapping[str, str] = {
    "system_settings": _SETUP,
    "users": "members of staff, who sign in",
    "application_statuses": _SETUP,
    "application_queries": _SETUP,
    "lineages": _SETUP,
    "contact_jobs": _SETUP,
    "form_letters": _SETUP,
    "form_letter_versions": "texts for everybody; the version of a letter that cannot be written again is in letters/",
    "letter_layouts": _SETUP,
    "attachments": "files for everybody; a letter that can be written again has them in it",
    "dispatch_runs": "what a job did on a day, for everybody",
    "unsealed_events": "ids of history rows that wait for their seal: in the history without one",
    "person_changes": "ids of people whom plans have to look at again, for an hour at most",
    "send_slots": "domains of recipients, while letters to them wait",
    "service_instances": _RUNNING,
    "daily_chores": _RUNNING,
    "said_journals": _RUNNING,
    "queue_depths": _RUNNING,
    "console_sessions": "members of staff who are signed in",
}


def told(table: Table) -> list[Column[Any]]:
    """The columns of a table that are in the file as they are."""
    left_out = LEFT_OUT.get(table.name, {})
    return [column for column in table.columns if column.name not in left_out]
