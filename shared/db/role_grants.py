"""What each service may do in PostgreSQL, table by table: as much as its statements need, and no more (S17).

`kontaktpflege migrate --grant` gives it, by the owner of the tables, after every step of the schema. A service that
hears strangers has a role of its own, by columns: the candidates' page may read no address, no name, no letter and no
user, the mailbox reader nothing of these but addresses. All others share one, for each of them needs nearly all.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, get_args

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.audit_tables import event_seals, unsealed_events
from shared.db.candidate_tables import said_journals
from shared.db.service_tables import person_changes, service_instances
from shared.db.tables import (
    application_queries,
    application_statuses,
    applications,
    attempts,
    blocks,
    candidate_requests,
    consent_requests,
    contact_entries,
    contact_jobs,
    dispatch_runs,
    events,
    metadata,
    persons,
    returned_mails,
    system_settings,
    users,
    wishes_to_note,
    write_orders,
)
from shared.errors import InvalidInput

#: Whose rights: the candidates' page, the mailbox reader, all others.
Share = Literal["service", "public", "mailbox"]
SHARES: tuple[Share, ...] = get_args(Share)
#: Right -> columns, separated by blanks; "*": the table with all that it has. Who inserts is told the new row's id.
Rights = Mapping[str, str]

ALEMBIC = "alembic_version"
_ALL: Rights = dict.fromkeys(("SELECT", "INSERT", "UPDATE", "DELETE"), "*")
#: What whoever adds to the history, or changes what plans look at, writes by triggers.
_BY_TRIGGERS: dict[str, Rights] = {
    unsealed_events.name: {"INSERT": "event_id"},
    person_changes.name: {"INSERT": "transaction_id people"},
}
_HISTORY = "at author action noun record_id record_name field old new reason"
#: Every process says that it is alive, and asks for the schema's version.
_ALIVE: dict[str, Rights] = {service_instances.name: _ALL, ALEMBIC: {"SELECT": "*"}}
_MAINTAIN_SINCE = 170_000
_LAST_CONTACTS = "last_contact_at last_outgoing_at"

GRANTS: dict[Share, dict[str, Rights]] = {
    "service": {
        **dict.fromkeys(metadata.tables, _ALL),
        # Added to; of its words, which a reduction erases, a trigger sees to it that they are emptied, not rewritten.
        events.name: {"SELECT": "*", "INSERT": "*", "UPDATE": "old new reason"},
        event_seals.name: {"SELECT": "*", "INSERT": "*", "UPDATE": "salt"},
        ALEMBIC: {"SELECT": "*"},
    },
    "public": {
        **_ALIVE,
        **_BY_TRIGGERS,
        events.name: {"SELECT": "id", "INSERT": _HISTORY},
        wishes_to_note.name: {"SELECT": "id", "INSERT": "person_id taken_back"},
        persons.name: {
            "SELECT": "id opted_out_at no_birthday_since yearly_since",
            "UPDATE": "last_contact_at opted_out_at opted_out_by no_birthday_since yearly_since",
        },
        # The last ones for who was rejected for want of an answer, and then gives one (D42).
        applications.name: {
            "SELECT": "id external_id person_id status_id reduced_at",
            "UPDATE": f"{_LAST_CONTACTS} status_id rejected_by_letter_at in_pool pool_since",
        },
        contact_entries.name: {
            "SELECT": "id identity application_id person_id at direction counts_for_person",
            "INSERT": "identity application_id at medium direction author subject counts_for_person",
        },
        # Letters of whoever wants none are withdrawn.
        write_orders.name: {
            "SELECT": (
                "id type state job_id job_name run_id time_zone application_id occasion_day phase lease_token"
                " handed_over_at block_id planned_for created_at"
            ),
            "UPDATE": "state reason withdrawn_by block_id ring_at phase lease_token lease_until",
        },
        attempts.name: {"SELECT": "lease_token settled_at", "UPDATE": "outcome settled_at"},
        dispatch_runs.name: {"SELECT": "id state reason", "UPDATE": "due_at rung_at"},
        blocks.name: {
            "SELECT": "id person_id scope until author lifted_at",
            "INSERT": "person_id lineage_id scope until reason author created_at",
            "UPDATE": "lifted_at lifted_by",
        },
        contact_jobs.name: {"SELECT": "id query_id priority consent_answer_days consent_status_id"},
        application_queries.name: {"SELECT": "id name name_folded filters version"},
        application_statuses.name: {"SELECT": "id name name_folded meta"},
        candidate_requests.name: {
            "SELECT": "id application_id kind words made_at done_at",
            "INSERT": "application_id kind words made_at",
            "UPDATE": "done_at done_by",
        },
        consent_requests.name: dict.fromkeys(("SELECT", "INSERT", "UPDATE"), "*"),
        # How far its own file of what was said is known; the hold, which it begins when the database knows less (C56).
        said_journals.name: {"SELECT": "*", "INSERT": "*", "UPDATE": "*"},
        system_settings.name: {"SELECT": "name value", "INSERT": "name value", "UPDATE": "value"},
    },
    "mailbox": {
        **_ALIVE,
        **_BY_TRIGGERS,
        events.name: {"SELECT": "id", "INSERT": _HISTORY},
        returned_mails.name: {
            "SELECT": "id identity order_id kind",
            "INSERT": "identity order_id at kind status effect",
            "UPDATE": "effect",
        },
        persons.name: {"SELECT": "id", "UPDATE": "last_contact_at"},
        applications.name: {
            "SELECT": "id external_id person_id reduced_at usable_email",
            "UPDATE": f"{_LAST_CONTACTS} usable_email returned_email returned_at",
        },
        contact_entries.name: {
            "SELECT": "id application_id person_id at direction counts_for_person",
            "INSERT": "identity application_id at medium direction author subject body counts_for_person",
        },
        write_orders.name: {
            "SELECT": "id application_id email message_id state phase occasion_day sent_at created_at",
            "UPDATE": "claimed_epoch",
        },
        users.name: {"SELECT": "id email"},
        system_settings.name: {"SELECT": "name value"},
    },
}
#: What imports write.
IMPORTED = ("applications", "persons", "contact_entries", "custom_fields")
#: The rows of the settings that a share may see; the others', the secret of the noted wishes among them, it may not.
SHOWN_SETTINGS: dict[Share, tuple[str, ...]] = {
    "public": ("company", "time_zone", "instance_id", "hold", "hold_released"),
    "mailbox": ("sender",),
}
#: The one row that a share with a right to write settings may write.
WRITTEN_SETTING = "hold"


async def grant(connection: AsyncConnection, share: Share, role: str) -> None:
    """Gives a role the rights of a share, and takes every other right on our tables from it.

    By the tables' owner, on PostgreSQL. Raises InvalidInput for a role that is not there, or that owns the tables.
    """
    known = text("SELECT rolname = current_user OR rolsuper FROM pg_roles WHERE rolname = :role")
    may_all = (await connection.execute(known, {"role": role})).scalar()
    if may_all is None:
        raise InvalidInput("--grant", f"{share}={role}", "there is no such role; CREATE ROLE ... LOGIN makes it")
    if may_all:
        raise InvalidInput("--grant", f"{share}={role}", "may do everything anyhow; give a role that owns nothing")
    for statement in _statements(share, role):
        await connection.exec_driver_sql(statement)
    version = int((await connection.execute(text("SELECT current_setting('server_version_num')"))).scalar_one())
    if share == "service" and version >= _MAINTAIN_SINCE:
        # The planner is told of a large import or release at once; before PostgreSQL 17 only the owner may, or
        # autovacuum does.
        renewed = ", ".join((*IMPORTED, write_orders.name))
        await connection.exec_driver_sql(f"GRANT MAINTAIN ON {renewed} TO {_quoted(role)}")


def _statements(share: Share, name: str) -> Iterator[str]:
    role = _quoted(name)
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}"
    yield f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {role}"
    yield f"GRANT USAGE ON SCHEMA public TO {role}"
    for table, rights in GRANTS[share].items():
        for right, columns in rights.items():
            of = "" if columns == "*" else f" ({', '.join(columns.split())})"
            yield f"GRANT {right}{of} ON {table} TO {role}"
        if "INSERT" in rights and "id" in metadata.tables[table].c:
            yield f"GRANT USAGE ON SEQUENCE {table}_id_seq TO {role}"
    yield from _policies(share, name)


def _policies(share: Share, name: str) -> Iterator[str]:
    """Which rows of the settings it sees. For everybody else nothing changes."""
    table, role, policy = system_settings.name, _quoted(name), _quoted(f"shown to {name}")
    yield f"DROP POLICY IF EXISTS {policy} ON {table}"
    if share in SHOWN_SETTINGS:
        names = ", ".join(f"'{name}'" for name in SHOWN_SETTINGS[share])
        yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
        yield f"DROP POLICY IF EXISTS everybody ON {table}"
        yield f"CREATE POLICY everybody ON {table} USING (true)"
        yield f"CREATE POLICY {policy} ON {table} AS RESTRICTIVE FOR SELECT TO {role} USING (name IN ({names}))"
        for right, check in (("INSERT", "WITH CHECK"), ("UPDATE", "USING")):
            kept = _quoted(f"{right.lower()} by {name}")
            yield f"DROP POLICY IF EXISTS {kept} ON {table}"
            yield (
                f"CREATE POLICY {kept} ON {table} AS RESTRICTIVE FOR {right} TO {role}"
                f" {check} (name = '{WRITTEN_SETTING}')"
            )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
