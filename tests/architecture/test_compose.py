"""compose.yaml as the real compose program reads it; no engine is needed for that."""

import json
import os
import re
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from services.cli.app import build
from services.cli.running import Role
from services.mailbox.imap import imap_place
from shared.db.role_grants import SHARES
from shared.domain.link_tokens import LinkTokens, split_secrets
from shared.errors import InvalidSettings
from shared.public_links import public_links
from shared.settings import Settings, load_settings
from tests.architecture import ROOT

#: No .env of the developer's.
NOWHERE = Path("/nowhere/.env")
ROLES = ("scheduler", "evaluator", "mailer")
#: With the one that people open in a browser: those that use the broker.
ON_BUS = (*ROLES, "console")
#: Those that hear strangers.
AMONG_STRANGERS = ("public", "mailbox")
SERVICES = (*ON_BUS, *AMONG_STRANGERS)
#: Secrets that services have besides.
SECRETS = {
    "mailer": ("smtp_password", "link_keys"),
    "console": ("smtp_password", "link_keys"),
    "public": ("link_keys",),
    "mailbox": ("link_keys", "imap_password"),
}


def compose(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "docker-compose"
    return subprocess.run(
        [program, "--file", ROOT / "compose.yaml", "--profile", "dev", "--profile", "mailbox", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    done = compose("config", "--format", "json", SMTP_URL="smtp://mailpit:1025")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_missing_mail_server_is_told() -> None:
    done = compose("config", "--quiet")
    assert done.returncode != 0
    assert "SMTP_URL=smtp+starttls://" in done.stderr


def test_mailers_can_be_scaled(config: dict[str, Any]) -> None:
    for role in ROLES:
        service = config["services"][role]
        assert "container_name" not in service and not service.get("ports") and "hostname" not in service


def test_commands_exist(config: dict[str, Any]) -> None:
    for name in ("migrate", *SERVICES):
        done = CliRunner().invoke(build(), [*config["services"][name]["command"], "--help"])
        assert done.exit_code == 0, done.output
    # --help is answered before arguments are looked at.
    assert {config["services"][role]["command"][1] for role in SERVICES} <= {role.value for role in Role}


def test_services_start_after_schema_and_broker(config: dict[str, Any]) -> None:
    services = config["services"]
    for role in SERVICES:
        needs = {name: entry["condition"] for name, entry in services[role]["depends_on"].items()}
        broker = {"rabbitmq": "service_healthy"} if role in ON_BUS else {}
        assert needs == {"migrate": "service_completed_successfully"} | broker
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert all(service["healthcheck"]["test"] for name, service in services.items() if name != "migrate")
    assert services["migrate"]["healthcheck"]["disable"]
    for role in SERVICES:
        port = services[role]["environment"]["KP_HEALTH_PORT"]
        assert f":{port}/livez" in services[role]["healthcheck"]["test"][-1]


def test_images_are_pinned_and_all_that_needs_no_more_starts_by_itself(config: dict[str, Any]) -> None:
    for name, service in config["services"].items():
        tag = service["image"].rpartition(":")[2]
        assert "/" not in tag and tag != "latest", name
        assert service.get("profiles", []) == {"mailpit": ["dev"], "mailbox": ["mailbox"]}.get(name, [])
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")


@pytest.mark.parametrize("name", ["mailer", "public"])
def test_a_journal_outlives_its_container(config: dict[str, Any], name: str) -> None:
    service = config["services"][name]
    volumes = {mount["target"]: mount for mount in service.get("volumes", [])}
    mount = volumes[service["environment"]["KP_STATE_DIR"]]
    assert mount["type"] == "volume" and mount["source"] == name and name in config["volumes"]


def test_a_mistyped_key_is_refused(tmp_path: Path) -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    (tmp_path / "compose.yaml").write_text(text.replace("stop_grace_period:", "stop_grace_perod:"), encoding="utf-8")
    program = Path(sys.executable).parent / "docker-compose"
    done = subprocess.run(
        [program, "--file", tmp_path / "compose.yaml", "config", "--quiet"],
        env={"PATH": os.environ["PATH"], "SMTP_URL": "smtp://mailpit:1025"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0 and "stop_grace_perod" in done.stderr


def test_what_is_mounted_is_there(config: dict[str, Any]) -> None:
    mounts = [mount for service in config["services"].values() for mount in service.get("volumes", [])]
    bound = [Path(mount["source"]) for mount in mounts if mount["type"] == "bind"]
    assert len(bound) >= 6 and all(path.exists() for path in bound)


def test_the_console_is_opened_on_this_machine_only(config: dict[str, Any]) -> None:
    console = config["services"]["console"]
    (port,) = console["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "8080", 8080)
    assert console["environment"]["KP_CONSOLE_HOST"] == "0.0.0.0"
    assert (
        console["environment"]["DATABASE_URL_FILE"] == config["services"]["mailer"]["environment"]["DATABASE_URL_FILE"]
    )


def test_the_candidates_page_is_opened_to_a_proxy_on_this_machine_only(config: dict[str, Any]) -> None:
    public = config["services"]["public"]
    (port,) = public["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "8081", 8081)
    environment = public["environment"]
    assert (environment["KP_PUBLIC_HOST"], environment["KP_PUBLIC_PORT"]) == ("0.0.0.0", "8081")
    # Whoever comes by the port comes from the network's gateway: one household, unless its word is taken.
    proxies = _settings(config, "public").public_proxies()
    assert any(ip_address("172.18.0.1") in ip_network(one) for one in proxies)
    assert [name for name, one in config["services"].items() if one.get("ports")] == [
        *("console", "grafana", "mailpit", "public")
    ]


def test_s13_who_hears_strangers_reaches_the_database_and_no_other_service(config: dict[str, Any]) -> None:
    networks = {name: set(service["networks"]) for name, service in config["services"].items()}
    meet = {name for name, found in networks.items() if "strangers" in found}
    assert meet == {*AMONG_STRANGERS, "postgres", "prometheus"}
    assert all(networks[name] == {"strangers"} for name in AMONG_STRANGERS)


def _settings(config: dict[str, Any], name: str) -> Settings:
    environment = {**config["services"][name]["environment"], "KP_LINK_KEYS": "x" * 32, "KP_IMAP_PASSWORD": "x"}
    given = {key: value for key, value in environment.items() if not key.endswith("_FILE")}
    return load_settings(given, NOWHERE)


def test_settings_that_are_not_given_are_no_obstacle(config: dict[str, Any]) -> None:
    assert _settings(config, "mailer").kp_public_url == "" and public_links(_settings(config, "mailer")) is None
    with pytest.raises(InvalidSettings, match="KP_IMAP_URL"):
        imap_place(_settings(config, "mailbox"))
    done = compose(
        *("config", "--format", "json"),
        SMTP_URL="smtp://mailpit:1025",
        KP_PUBLIC_URL="https://karriere.firma.example",
        KP_BOUNCE_ADDRESS="bounce@firma.example",
        KP_IMAP_URL="imaps://bounce@imap.firma.example",
    )
    given = json.loads(done.stdout)
    assert public_links(_settings(given, "mailer")) and _settings(given, "console").return_paths()
    assert imap_place(_settings(given, "mailbox")).host == "imap.firma.example"


def test_s12_no_password_in_the_environment(config: dict[str, Any]) -> None:
    for name, service in config["services"].items():
        for key, value in (service.get("environment") or {}).items():
            assert "PASSWORD" not in key or key.endswith("_FILE"), (name, key)
            assert not re.search(r"://[^/@]*:[^/@]+@", value), (name, key)
    assert all(entry["file"] for entry in config["secrets"].values())


def test_each_service_has_the_secrets_that_it_needs_and_no_others(config: dict[str, Any]) -> None:
    def secrets(name: str) -> dict[str, str]:
        return {Path(one["target"]).name: one["source"] for one in config["services"][name]["secrets"]}

    assert secrets("migrate") == {"database_url": "database_url"}
    for role in SERVICES:
        share = role if role in AMONG_STRANGERS else "service"
        broker = {"broker_url": f"broker_url_{role}"} if role in ON_BUS else {}
        others = {name: name for name in SECRETS.get(role, ())}
        assert secrets(role) == {"database_url": f"database_url_{share}"} | broker | others
        files = {Path(value).name for key, value in config["services"][role]["environment"].items() if "_FILE" in key}
        assert files == set(secrets(role))
    assert secrets("rabbitmq") == {"rabbitmq_definitions.json": "rabbitmq_definitions"}
    passwords = {f"postgres_{one}_password" for one in ("admin", "app", *SHARES)}
    assert set(secrets("postgres").values()) == passwords
    load = (ROOT / "deploy/rabbitmq/load.conf").read_text(encoding="utf-8")
    assert "load_definitions = /run/secrets/rabbitmq_definitions.json" in load


def test_s33_services_have_few_rights(config: dict[str, Any]) -> None:
    for role in (*SERVICES, "migrate"):
        service = config["services"][role]
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["tmpfs"] == ["/tmp"]
    for name, service in config["services"].items():
        assert service["deploy"]["resources"]["limits"]["memory"] and service["deploy"]["resources"]["limits"]["cpus"]
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"], name
        # Only these start as root and step down.
        assert ("cap_add" in service) == (name in ("postgres", "rabbitmq")), name
        assert service.get("read_only", False) == (name != "rabbitmq"), name


def test_a_mailer_has_longer_to_end_than_its_drain_takes(config: dict[str, Any]) -> None:
    mailer = config["services"]["mailer"]
    ((minutes, seconds),) = re.findall(r"^(?:(\d+)m)?(\d+)s$", mailer["stop_grace_period"])
    environment = {name: value for name, value in mailer["environment"].items() if not name.endswith("_FILE")}
    assert int(minutes or 0) * 60 + int(seconds) > load_settings(environment, NOWHERE).kp_grace_seconds + 10


def test_every_variable_is_a_setting(config: dict[str, Any]) -> None:
    for name in (*SERVICES, "migrate"):
        assert {one.removesuffix("_FILE").lower() for one in config["services"][name]["environment"]} <= {
            *Settings.model_fields
        }


def test_secrets_are_made_with_the_names_that_compose_reads(config: dict[str, Any], tmp_path: Path) -> None:
    for _ in range(2):  # a second run keeps what is there
        done = subprocess.run(
            ["sh", ROOT / "deploy" / "make-secrets.sh", tmp_path],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    names = {Path(entry["file"]).name for entry in config["secrets"].values()}
    assert names == {path.name for path in tmp_path.iterdir()}
    password = (tmp_path / "postgres_app_password").read_text()
    assert len(password) == 48 and password in (tmp_path / "database_url").read_text()
    for share in SHARES:
        own = (tmp_path / f"postgres_{share}_password").read_text()
        url = urlsplit((tmp_path / f"database_url_{share}").read_text())
        assert (url.username, url.password, len(own)) == (f"kontaktpflege_{share}", own, 48)
    assert LinkTokens(split_secrets((tmp_path / "link_keys").read_text()))
    addresses = {(tmp_path / f"broker_url_{role}").read_text() for role in ON_BUS}
    definitions = (tmp_path / "rabbitmq_definitions.json").read_text(encoding="utf-8")
    assert len(addresses) == 4 and not any(one.split(":")[2].split("@")[0] in definitions for one in addresses)
