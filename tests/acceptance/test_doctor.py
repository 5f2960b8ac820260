"""`kontaktpflege doctor` on real servers: each of these misconfigurations is found, and what to do is said."""

import json
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pika
import pytest

from services.cli.doctor.examination import CHECKS as ALL_CHECKS
from shared.bus.topology import EXCHANGE, ROUTES
from tests.acceptance.installation import APP, READER, ROOT, SECRET, Installation
from tests.servers.processes import free_port
from tests.smtp_scripts import always

JOBS_DUE, ORDERS_READY = (route.queue for route in ROUTES)
CHECKS = ["settings", "database and schema", "clock", "time zones", "broker", "mail server", "candidates' page"]
CHECKS += ["hold", "jobs"]


def topology(house: Installation) -> Any:
    """Everything that is declared on the vhost, as an administrator would export it."""
    return json.loads(house.manage("GET", f"definitions/{house.name}"))


def test_a_good_installation_has_no_finding_and_stays_as_it_is(house: Installation) -> None:
    before = topology(house)
    for role in ("all", "scheduler", "evaluator", "mailer", "console", "public"):
        # The page works by a role of its own.
        changed = of_its_own(house) if role == "public" else {}
        report = house.doctor(role, **changed)
        assert (report.code, report.err, report.wrong) == (0, "", [])
        assert [one["check"] for one in report.findings] == [*CHECKS, "state directory"]
    assert topology(house) == before and len(before["queues"]) == 4
    assert not (house.folder / "state").exists()
    # No letter is begun at the mail server.
    assert {"RCPT", "DATA"}.isdisjoint(house.servers.mail.oracle.verbs)


def of_its_own(house: Installation, share: str = "public") -> dict[str, str]:
    """The settings by which a service has its share of the rights in the database."""
    return {"DATABASE_URL_FILE": "", "DATABASE_URL": house.granted(share)}


def test_people_and_programs_are_told_the_same(house: Installation) -> None:
    changed = {"BROKER_URL": house.broker_url(f"guest:{SECRET}"), "KP_CLOCK_START": "2026-11-23T06:00:00+01:00"}
    report = house.doctor(**changed)
    out, err, code = house.said("doctor", **changed)
    assert (code, err) == (report.code, report.err) == (1, "1 checks failed\n")
    for line, one in zip(out.splitlines(), report.findings, strict=True):
        start, said = f"{one['verdict']:4}  {one['check']}: ", f"{one['place']}: {one['value']}; {one['fix']}"
        assert line.startswith(start) and (one["check"] == "clock" or line[len(start) :] in (one["value"], said))
        assert (one["verdict"] == "ok") == (one["place"] is None) == (one["fix"] is None)
    assert [one["verdict"] for one in report.wrong] == ["warn", "FAIL"]


def test_operations_explains_every_check() -> None:
    explained = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert [check.name for check in ALL_CHECKS if f"| **{check.name}**: " not in explained] == []


# -- database ----------------------------------------------------------------------------------------------------------


def test_a_wrong_password_of_the_database(house: Installation) -> None:
    url = house.database_url(APP, f"{SECRET}-alt")
    house.doctor(DATABASE_URL=url).the_only_trouble(
        "database and schema",
        place="setting DATABASE_URL",
        value=f"{APP}:***@127.0.0.1:{url.rpartition(':')[2]} cannot be reached: connection failed",
        fix="correct user and password",
    )


def test_a_schema_that_was_not_migrated(house: Installation) -> None:
    house.execute("UPDATE alembic_version SET version_num = '0001'")
    house.doctor().the_only_trouble(
        "database and schema", place="schema", value="has schema 0001", fix="`kontaktpflege migrate`"
    )


def test_a_schema_of_a_newer_release(house: Installation) -> None:
    house.execute("UPDATE alembic_version SET version_num = '9999'")
    house.doctor().the_only_trouble(
        "database and schema", place="schema", value="has schema 9999", fix="run the newer release"
    )


def test_a_role_that_may_only_read(house: Installation) -> None:
    house.execute("GRANT USAGE ON SCHEMA public TO kp_reader")
    url = house.database_url(READER)
    for granted, lacked in (("", "SELECT INSERT UPDATE DELETE"), ("SELECT", "INSERT UPDATE DELETE")):
        if granted:
            house.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO kp_reader")
        report = house.doctor(DATABASE_URL=url)
        found = {one["value"].split()[1]: one for one in report.wrong if one["check"] == "database and schema"}
        assert (report.code, list(found)) == (1, lacked.split())
        for right, one in found.items():
            assert one["place"] == f"database role {READER}"
            assert one["fix"].startswith(f"`kontaktpflege migrate --grant service={READER}` by the tables' owner")
            assert one["value"].startswith(f"lacks {right} on a") and one["value"].endswith(" more")


def test_s17_a_page_that_may_read_everything_is_advised_against(house: Installation) -> None:
    house.doctor("public").the_only_trouble(
        "database and schema",
        place=f"database role {APP}",
        value="may do more than the candidates' page needs",
        fix="`kontaktpflege migrate --grant public=NAME`",
        grave=False,
    )
    # By a single column, too.
    given = of_its_own(house)
    house.execute("GRANT SELECT (email) ON applications TO kp_reader")
    house.doctor("public", **given).the_only_trouble(
        "database and schema", place=READER, value="needs: SELECT on applications", fix="its own", grave=False
    )


def test_s17_a_role_that_lacks_a_column_is_told(house: Installation) -> None:
    given = of_its_own(house, "mailbox")
    house.execute("REVOKE SELECT (usable_email) ON applications FROM kp_reader")
    house.doctor("mailbox", **given).the_only_trouble(
        "database and schema", place=READER, value="lacks SELECT on applications", fix=f"mailbox={READER}"
    )


def test_s25_a_page_that_is_not_there(house: Installation) -> None:
    url = f"https://localhost:{free_port()}"
    house.doctor(KP_PUBLIC_URL=url).the_only_trouble(
        "candidates' page",
        place="setting KP_PUBLIC_URL",
        value=f"{url} cannot be reached",
        fix="run public",
        grave=False,
    )


def test_a_database_without_temporary_tables(house: Installation) -> None:
    house.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO kp_reader")
    house.execute("GRANT USAGE ON SCHEMA public TO kp_reader")
    house.execute(f"REVOKE TEMPORARY ON DATABASE {house.name} FROM PUBLIC")  # type: ignore[arg-type]
    house.doctor(DATABASE_URL=house.database_url(READER)).the_only_trouble(
        "database and schema",
        place=f"database role {READER}",
        value="temporary tables",
        fix=f"GRANT TEMPORARY ON DATABASE {house.name} TO {READER}",
    )


def test_a_role_that_may_do_everything_is_advised_against(house: Installation) -> None:
    url = house.database_url(APP).replace(f"{APP}:{SECRET}-{APP}", "kp_test")
    house.doctor(DATABASE_URL=url).the_only_trouble(
        "database and schema",
        place="database role kp_test",
        value="is a superuser",
        fix="deploy/postgresql/create-role.sh",
        grave=False,
    )


def test_a_database_that_may_only_be_read(house: Installation) -> None:
    house.execute(f"ALTER DATABASE {house.name} SET default_transaction_read_only = on")  # type: ignore[arg-type]
    house.doctor().the_only_trouble(
        "database and schema", place="setting DATABASE_URL", value="only be read", fix="name the primary"
    )


def test_clocks_that_are_apart(house: Installation) -> None:
    # The server's own clock cannot be set; this role sees it an hour behind.
    house.execute("CREATE SCHEMA late AUTHORIZATION kp_app")
    house.execute(
        "CREATE FUNCTION late.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
        " AS $$ SELECT pg_catalog.clock_timestamp() - interval '1 hour' $$"
    )
    path = f"ALTER ROLE {APP} IN DATABASE {house.name} SET search_path = late, pg_catalog, public"
    house.execute(path)  # type: ignore[arg-type]
    house.doctor().the_only_trouble("clock", place="clock", value="seconds from the database's clock, ahead", fix="NTP")


def test_a_time_zone_that_nobody_knows(house: Installation) -> None:
    house.execute("""INSERT INTO system_settings (name, value) VALUES ('time_zone', '"Europe/Berlinn"')""")
    house.doctor().the_only_trouble(
        "time zones", place="setting time_zone", value="Europe/Berlinn", fix="did you mean 'Europe/Berlin'?"
    )


def test_a_hold_that_nobody_has_released(house: Installation) -> None:
    hold = {"since": "2026-11-20T08:00:00+00:00", "reason": "restored", "marks": [7]}
    house.execute("INSERT INTO system_settings (name, value) VALUES ('hold', %s)", json.dumps(hold))
    house.doctor().the_only_trouble(
        "hold", place="database", value="nothing is sent since 2026-11-20", fix="kontaktpflege hold release"
    )


def test_a_job_whose_query_names_a_status_that_is_gone(house: Installation) -> None:
    filters = [{"field": "status", "in": ["Absagen"]}]
    house.execute("UPDATE application_queries SET filters = %s WHERE name = 'Kontakt fehlend'", json.dumps(filters))
    house.doctor().the_only_trouble(
        "jobs", place="job 'Prozesshänger', query 'Kontakt fehlend'", value="Absagen", fix="did you mean 'absage'?"
    )


# -- broker ------------------------------------------------------------------------------------------------------------


def test_a_wrong_password_of_the_broker(house: Installation) -> None:
    house.doctor(BROKER_URL=house.broker_url(f"guest:{SECRET}")).the_only_trouble(
        "broker", place="setting BROKER_URL", value="guest:***@127.0.0.1", fix="correct user and password"
    )


def test_a_vhost_that_does_not_exist(house: Installation) -> None:
    house.doctor(BROKER_URL=house.broker_url(vhost="nowhere")).the_only_trouble(
        "broker", place="setting BROKER_URL", value="vhost nowhere not found", fix="rabbitmqctl add_vhost"
    )


def test_a_queue_of_another_kind(house: Installation) -> None:
    with closing(pika.BlockingConnection(pika.URLParameters(house.broker_url()))) as connection:
        channel = connection.channel()
        channel.queue_delete(ORDERS_READY)
        channel.queue_declare(ORDERS_READY, durable=True)
        channel.queue_bind(ORDERS_READY, EXCHANGE.name, ORDERS_READY)
    house.doctor().the_only_trouble(
        "broker", place=f"queue {ORDERS_READY}", value="inequivalent arg", fix="rabbitmqctl delete_queue"
    )


def test_a_broker_without_the_queues(house: Installation) -> None:
    house.make_vhost(f"{house.name}_empty")
    house.doctor(BROKER_URL=house.broker_url(vhost=f"{house.name}_empty")).the_only_trouble(
        "broker", place="broker amqp://", value=f"no queue {ORDERS_READY}", fix="deploy/rabbitmq/apply.sh"
    )


@pytest.mark.parametrize(
    ("role", "may_not"),
    [("scheduler", "publish to the exchange kontaktpflege"), ("mailer", f"read the queue {ORDERS_READY}")],
)
def test_a_user_of_another_service(house: Installation, role: str, may_not: str) -> None:
    house.manage("PUT", "users/console", {"password": f"{SECRET}-console", "tags": ""})
    house.allow("console", "^$", "^$", "^$")
    url = house.broker_url(f"console:{SECRET}-console")
    house.doctor(role, BROKER_URL=url).the_only_trouble(
        "broker", place="broker amqp://console:***@", value=f"may not {may_not}", fix="deploy/rabbitmq/rights.tsv"
    )
    assert house.doctor("console", BROKER_URL=url).code == 0


def test_letters_that_wait_for_nobody(house: Installation) -> None:
    with closing(pika.BlockingConnection(pika.URLParameters(house.broker_url()))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(EXCHANGE.name, ORDERS_READY, b"{}")
        # Looking for the mailer's right to read does not take one.
        for role in ("all", "mailer"):
            house.doctor(role).the_only_trouble(
                "broker",
                place=f"queue {ORDERS_READY}",
                value="1 messages, and nobody",
                fix="`kontaktpflege run mailer`",
            )
        left, _, _ = channel.basic_get(ORDERS_READY)
        assert left is not None and not left.redelivered


# -- mail server -------------------------------------------------------------------------------------------------------


def test_a_mail_server_without_the_tls_that_is_asked_for(house: Installation) -> None:
    house.servers.mail.oracle.starttls = None
    house.doctor().the_only_trouble(
        "mail server", place="setting SMTP_URL", value="STARTTLS extension not supported", fix="take the scheme"
    )


def test_a_certificate_of_another_name(house: Installation) -> None:
    url = house.environment["SMTP_URL"].replace("localhost", "127.0.0.1")
    house.doctor(SMTP_URL=url).the_only_trouble(
        "mail server", place="setting SMTP_URL", value="certificate", fix="name the host as its certificate does"
    )


def test_a_wrong_password_of_the_mail_server(house: Installation) -> None:
    password = house.secret("other_password", f"{SECRET}-alt")
    house.doctor(SMTP_PASSWORD_FILE=password).the_only_trouble(
        "mail server", place="setting SMTP_PASSWORD", value="535", fix="correct the user in SMTP_URL"
    )


def test_senders_that_the_mail_server_refuses(house: Installation) -> None:
    refuse = always("reject_mail_from_5xx")
    house.servers.mail.oracle.script = lambda address, n: refuse(address, n) if address.startswith("a.weber") else None
    house.doctor().the_only_trouble(
        "mail server",
        place="job 'Endgültige Absage Pool', sender",
        value="refuses a.weber@firma.example: 553 sender not allowed",
        fix="give another sender",
    )


# -- this machine ------------------------------------------------------------------------------------------------------


def test_a_setting_that_is_misspelt(house: Installation) -> None:
    report = house.doctor(KP_RELAY_RAT="5")
    assert (report.code, report.findings) == (1, [])
    assert report.err == "kontaktpflege: unknown setting KP_RELAY_RAT; did you mean KP_RELAY_RATE?\n"


def test_a_setting_whose_misspelling_nobody_refuses(house: Installation) -> None:
    house.doctor(BROKER_URL_FILE="", BROKER_URI=house.broker_url()).the_only_trouble(
        "settings", place="BROKER_URI", value="BROKER_URL is not given", fix="rename it", grave=False
    )


def test_the_same_port_for_console_and_probes(house: Installation) -> None:
    house.doctor(KP_HEALTH_PORT="8080").the_only_trouble(
        "settings", place="setting KP_HEALTH_PORT", value="8080", fix="KP_CONSOLE_PORT"
    )
    assert house.doctor("mailer", KP_HEALTH_PORT="8080").code == 0
    house.doctor("public", KP_HEALTH_PORT="8081", **of_its_own(house)).the_only_trouble(
        "settings", place="setting KP_HEALTH_PORT", value="8081", fix="KP_PUBLIC_PORT"
    )


def test_the_candidates_page_without_a_port(house: Installation) -> None:
    house.doctor("public", KP_PUBLIC_PORT="", **of_its_own(house)).the_only_trouble(
        "settings", place="setting KP_PUBLIC_PORT", value="not given", fix="give it"
    )


@pytest.mark.parametrize(("taken", "missing"), [("KP_PUBLIC_URL",) * 2, ("KP_LINK_KEYS_FILE", "KP_LINK_KEYS")])
def test_s25_letters_without_a_way_to_unsubscribe(house: Installation, taken: str, missing: str) -> None:
    house.doctor(**{taken: "", "KP_PUBLIC_PORT": ""}).the_only_trouble(
        "settings", place=f"setting {missing}", value="no List-Unsubscribe", fix="give it", grave=False
    )


def test_a_rehearsals_clock_that_was_left(house: Installation) -> None:
    house.doctor(KP_CLOCK_START="2026-11-23T06:00:00+01:00").the_only_trouble(
        "settings", place="setting KP_CLOCK_START", value="2026-11-23", fix="take it away", grave=False
    )


def test_sqlite_with_rabbitmq(house: Installation) -> None:
    given = {"DATABASE_URL_FILE": "", "KP_STATE_DIR": str(house.folder)}
    assert house.command("migrate", **given).returncode == 0
    house.doctor(**given).the_only_trouble(
        "settings", place="setting DATABASE_URL", value="sqlite:///", fix="postgresql://", grave=False
    )


def test_one_service_alone_on_the_broker_of_one_process(house: Installation) -> None:
    house.doctor("mailer", BROKER_URL="memory://").the_only_trouble(
        "settings", place="setting BROKER_URL", value="one process", fix="give amqp://... to run the mailer alone"
    )


def test_a_password_that_every_user_can_read(house: Installation) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "smtp_password")
        path.write_text(f"{SECRET}-mail")
        path.chmod(0o644)
        path.parent.chmod(0o755)
        house.doctor(SMTP_PASSWORD_FILE=str(path)).the_only_trouble(
            "settings", place="setting SMTP_PASSWORD_FILE", value=str(path), fix=f"chmod o-r {path}", grave=False
        )
        # A closed folder keeps everybody else out, and so does the file's own mode.
        for folder_mode, file_mode in ((0o700, 0o644), (0o755, 0o600)):
            path.parent.chmod(folder_mode)
            path.chmod(file_mode)
            assert house.doctor(SMTP_PASSWORD_FILE=str(path)).wrong == []


def test_a_state_directory_that_cannot_be_written(house: Installation) -> None:
    (house.folder / "file").touch()
    given = {"KP_STATE_DIR": str(house.folder / "file" / "state")}
    house.doctor(**given).the_only_trouble(
        "state directory", place="setting KP_STATE_DIR", value="file/state is not writable", fix="name a folder"
    )
    assert house.doctor("scheduler", **given).wrong == []
