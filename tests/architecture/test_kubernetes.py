"""deploy/kubernetes: what a cluster would refuse, and what would only be noticed when letters stop."""

import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from starlette.routing import Mount, Route
from typer.testing import CliRunner

from services.cli.app import build
from services.public.app import build_public
from shared.clock import SystemClock
from shared.db.engine import Database
from shared.db.role_grants import SHARES
from shared.probes import build_probes
from shared.readiness import PATIENCE
from shared.settings import Settings
from tests.architecture.manifests import (
    FOLDER,
    WORKLOADS,
    Manifest,
    base,
    chooses,
    container,
    example,
    example_secrets,
    files,
    labels,
    of_kind,
    pod,
    render,
    settings,
    variables,
)

SERVICES = ("scheduler", "evaluator", "mailer", "console", "public", "mailbox")
#: Those that use the broker, each by a user of its own.
ON_BUS = SERVICES[:4]
#: Those that people reach with a browser, by the setting of their port.
PAGES = {"console": "kp_console", "public": "kp_public"}
#: Whose secrets each has besides: the mail server's and the mailbox's password, what signs links.
SECRETS = {"mailer": {"mail-server", "links"}, "console": {"mail-server", "links"}, "public": {"links"}}
SECRETS["mailbox"] = {"links", "mailbox"}
#: The oldest release that docs/deployment.md names, and the newest that the validator knows.
RELEASES = ("1.31", kubernetes_validate.latest_version())
COMPONENT = "app.kubernetes.io/component"


@pytest.fixture(params=[base, example], ids=["base", "example"])
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    """Each of the two installations."""
    found: list[Manifest] = request.param()
    return found


def workloads(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Everything that starts pods, by its name."""
    return of_kind(manifests, *WORKLOADS)


def native(manifests: list[Manifest]) -> list[Manifest]:
    """Those that every cluster knows; KEDA's are looked at in test_keda.py."""
    return [one for one in manifests if not one["apiVersion"].startswith("keda.sh/")]


@pytest.mark.parametrize("release", RELEASES)
def test_a_cluster_would_take_every_manifest(release: str) -> None:
    assert len(native(base())) > 20 and len(native(example())) == len(native(base())) + 1
    for manifest in [*native(base()), *(one for one in native(example()) if one not in base())]:
        kubernetes_validate.validate(manifest, release, strict=True)


def test_a_cluster_would_take_the_secrets() -> None:
    for secret in yaml.safe_load_all((FOLDER / "secrets.example.yaml").read_text(encoding="utf-8")):
        kubernetes_validate.validate(secret, RELEASES[-1], strict=True)
        assert secret["metadata"]["namespace"] == "kontaktpflege"
        assert all("CHANGE-ME" in value for value in secret["stringData"].values())


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("scheduler.yaml", "replicas:", "replica:"),
        ("mailer.yaml", "terminationGracePeriodSeconds:", "terminationGracePeriod:"),
        ("every-pod.yaml", "readOnlyRootFilesystem:", "readOnlyRootFileSystem:"),
        ("every-service.yaml", "readinessProbe:", "readynessProbe:"),
        ("migrate.yaml", "backoffLimit:", "backOffLimit:"),
        ("network-policies.yaml", "policyTypes:", "policyType:"),
    ],
)
def test_a_mistyped_key_is_refused(file: str, old: str, new: str, tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "base", tmp_path / "base")
    path = tmp_path / "base" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    (changed, *_) = [one for one in render(tmp_path / "base") if one not in base()]
    with pytest.raises(kubernetes_validate.ValidationError, match=new.removesuffix(":")):
        kubernetes_validate.validate(changed, RELEASES[-1], strict=True)


def test_every_file_is_used() -> None:
    for folder in (FOLDER / "base", FOLDER / "keda"):
        listed = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
        named = {*listed["resources"], *(one["path"] for one in listed["patches"] if "path" in one)}
        assert named | {"kustomization.yaml"} == {path.name for path in folder.iterdir()}


def test_nothing_secret_is_among_them() -> None:
    for manifests in (base(), example()):
        assert "Secret" not in {one["kind"] for one in manifests}
        for name, workload in workloads(manifests).items():
            for variable, value in variables(workload, manifests).items():
                assert not re.search("PASSWORD|SECRET", variable) or variable.endswith("_FILE"), (name, variable)
                assert not re.search(r"://[^/@]*:[^/@]+@", value), (name, variable)


def test_every_variable_is_a_setting_and_every_value_is_taken(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests).values():
        names = {name.removesuffix("_FILE").lower() for name in variables(workload, manifests)}
        assert names <= {*Settings.model_fields}
        settings(workload, manifests)  # raises for a value that no process would start with


def test_every_secret_is_mounted_where_it_is_read_and_only_there(manifests: list[Manifest]) -> None:
    used = set()
    for name, workload in workloads(manifests).items():
        mounted = {path: (secret, key) for path, secret, key in files(workload)}
        read = {value for variable, value in variables(workload, manifests).items() if variable.endswith("_FILE")}
        assert read == set(mounted), name
        used |= set(mounted.values())
        # Each service its own user of the broker (deploy/rabbitmq/rights.tsv), and its share of the database's rights.
        assert {key for secret, key in mounted.values() if secret == "broker"} == ({name} & {*ON_BUS})
        share = "owner" if name == "migrate" else name if name in ("public", "mailbox") else "service"
        assert {key for secret, key in mounted.values() if secret == "database"} == {share}
        others = {secret for secret, _ in mounted.values()} - {"broker", "database"}
        assert others == SECRETS.get(name, set()), name
    used |= {(one["name"], one["key"]) for one in _kedas_secrets()}
    assert used == {(name, key) for name, keys in example_secrets().items() for key in keys}


def _kedas_secrets() -> list[dict[str, str]]:
    found = of_kind(example(), "TriggerAuthentication").values()
    return [source for one in found for source in one["spec"]["secretTargetRef"]]


def test_every_command_exists(manifests: list[Manifest]) -> None:
    assert set(workloads(manifests)) == {*SERVICES, "migrate"}
    for name, workload in workloads(manifests).items():
        arguments = container(workload)["args"]
        grants = [f"--grant={share}=kontaktpflege_{share}" for share in SHARES]
        assert arguments == (["migrate", *grants] if name == "migrate" else ["run", name])
        assert CliRunner().invoke(build(), [*arguments, "--help"]).exit_code == 0
        assert "command" not in container(workload), "the image's init would be passed over"


def test_every_selector_takes_the_pods_that_it_means(manifests: list[Manifest]) -> None:
    of = {name: labels(workload) for name, workload in workloads(manifests).items()}
    assert len({tuple(sorted(one.items())) for one in of.values()}) == len(of)
    for name in SERVICES:
        workload = workloads(manifests)[name]
        (spread,) = pod(workload)["topologySpreadConstraints"]
        budget = of_kind(manifests, "PodDisruptionBudget")[name]
        selectors = [workload["spec"]["selector"], spread["labelSelector"], budget["spec"]["selector"]]
        names = [name, f"{name}-health"] if name in PAGES else [name]
        selectors += [of_kind(manifests, "Service")[service]["spec"]["selector"] for service in names]
        for selector in selectors:
            assert [one for one, found in of.items() if chooses(selector, found)] == [name]
    assert len(of_kind(manifests, "Service")) == 8 and len(of_kind(manifests, "PodDisruptionBudget")) == 6


def test_every_port_is_listened_on(manifests: list[Manifest]) -> None:
    for name in SERVICES:
        workload = workloads(manifests)[name]
        of = settings(workload, manifests)
        ports = {one["name"]: one["containerPort"] for one in container(workload)["ports"]}
        page = PAGES.get(name)
        assert ports == {"health": of.kp_health_port} | ({"http": getattr(of, f"{page}_port")} if page else {})
        assert of.kp_health_host == "0.0.0.0" and (page is None or getattr(of, f"{page}_host") == "0.0.0.0")
        for service in of_kind(manifests, "Service").values():
            if chooses(service["spec"]["selector"], labels(workload)):
                (port,) = service["spec"]["ports"]
                assert ports[port["targetPort"]] == port["port"]
    for name in ("mailer", "public"):
        assert workloads(manifests)[name]["spec"]["serviceName"] in of_kind(manifests, "Service")


def test_probes_ask_what_is_answered(manifests: list[Manifest]) -> None:
    paths = {route.path for route in build_probes(None).routes if isinstance(route, Route)}
    for name in SERVICES:
        found = container(workloads(manifests)[name])
        asked = {kind: found[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        # A database that is away makes a pod unready; it restarts none (docs/decisions/0033).
        wanted = {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
        assert {kind: probe["path"] for kind, probe in asked.items()} == wanted and {*wanted.values()} <= paths
        assert {probe["port"] for probe in asked.values()} == {"health"}
        assert found["readinessProbe"]["timeoutSeconds"] > PATIENCE
    assert not [key for key in container(workloads(manifests)["migrate"]) if key.endswith("Probe")]


def test_a_mailer_has_longer_to_end_than_its_drain_takes(manifests: list[Manifest]) -> None:
    mailer = workloads(manifests)["mailer"]
    of = settings(mailer, manifests)
    # The drain waits for the longest answer: an autoscaler that takes a mailer away makes no letter unclear.
    assert of.kp_grace_seconds > of.kp_smtp_timeout_seconds + of.kp_smtp_final_timeout_seconds
    assert pod(mailer)["terminationGracePeriodSeconds"] >= of.kp_grace_seconds + 30
    for name in SERVICES:
        assert pod(workloads(manifests)[name])["terminationGracePeriodSeconds"] >= 60


@pytest.mark.parametrize("name", ["mailer", "public"])
def test_a_journal_outlives_its_pod(manifests: list[Manifest], name: str) -> None:
    workload = workloads(manifests)[name]
    assert workload["kind"] == "StatefulSet"
    mounted = {one["mountPath"]: one["name"] for one in container(workload)["volumeMounts"]}
    state = mounted[variables(workload, manifests)["KP_STATE_DIR"]]
    (claim,) = workload["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == state and claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert set(workload["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}


def test_pods_have_few_rights(manifests: list[Manifest]) -> None:
    (namespace,) = of_kind(manifests, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for workload in workloads(manifests).values():
        of = pod(workload)
        assert of["automountServiceAccountToken"] is False and of["enableServiceLinks"] is False
        assert of["securityContext"]["runAsNonRoot"] and of["securityContext"]["runAsUser"] > 1000
        assert of["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container(workload)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(of)
        assert all(set(volume) & {"emptyDir", "projected"} for volume in of["volumes"])
        resources = container(workload)["resources"]
        assert {"cpu", "memory"} == set(resources["requests"]) == set(resources["limits"])


def test_pods_run_as_the_images_user() -> None:
    (user,) = re.findall(r"(?m)^USER (\d+):(\d+)$", (FOLDER.parents[1] / "Containerfile").read_text(encoding="utf-8"))
    for workload in workloads(base()).values():
        context = pod(workload)["securityContext"]
        assert user == (str(context["runAsUser"]), str(context["runAsGroup"]))
        assert context["fsGroup"] == context["runAsGroup"]


def test_only_what_is_needed_goes_in_and_out(manifests: list[Manifest]) -> None:
    policies = of_kind(manifests, "NetworkPolicy")
    assert policies["nothing"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    mail = urlsplit(settings(workloads(manifests)["mailer"], manifests).smtp_url.get_secret_value()).port
    names, database, broker, mailbox = {53}, {5432}, {5671, 5672}, {993}
    needed = {
        "migrate": (names | database, {"health"}),
        "scheduler": (names | database | broker, {"health"}),
        "evaluator": (names | database | broker, {"health"}),
        "mailer": (names | database | broker | {mail}, {"health"}),
        "console": (names | database | broker | {mail}, {"health", "http"}),
        "public": (names | database, {"health", "http"}),
        "mailbox": (names | database | mailbox, {"health"}),
    }
    for name, workload in workloads(manifests).items():
        found: dict[str, set[int | str]] = {"egress": set(), "ingress": set()}
        for policy in policies.values():
            if chooses(policy["spec"]["podSelector"], labels(workload)):
                for way, ports in found.items():
                    for rule in policy["spec"].get(way, []):
                        assert rule["to" if way == "egress" else "from"] and rule["ports"], "to everywhere"
                        ports |= {one["port"] for one in rule["ports"]}
        assert (found["egress"], found["ingress"]) == needed[name], name


def test_the_internet_reaches_the_candidates_page_and_of_it_its_paths_alone() -> None:
    assert not of_kind(base(), "Ingress")
    (ingress,) = of_kind(example(), "Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] in ingress["spec"]["tls"][0]["hosts"] and "defaultBackend" not in ingress["spec"]
    public = settings(workloads(example())["public"], example())
    page = urlsplit(str(public.kp_public_url))
    assert rule["host"] == page.hostname
    paths = {one["path"] for one in rule["http"]["paths"]}
    # The beginnings of all that the page answers, and nothing shorter.
    app: Any = build_public(Database("sqlite:///:memory:"), SystemClock(), public)
    routes = app._app._app.routes
    answered = {re.sub(r"(?<=/)\{.*", "", route.path) for route in routes if isinstance(route, Route)}
    answered |= {f"{route.path}/" for route in routes if isinstance(route, Mount)}
    assert paths == {page.path + one for one in answered} and len(paths) == 4
    for one in rule["http"]["paths"]:
        assert one["backend"]["service"] == {"name": "public", "port": {"name": "http"}}
        assert one["pathType"] == ("Prefix" if one["path"].endswith("/") else "Exact")


def test_a_mailbox_is_read_where_one_is_given() -> None:
    for manifests, count in ((base(), 0), (example(), 1)):
        mailbox = workloads(manifests)["mailbox"]
        assert mailbox["spec"]["replicas"] == count
        assert ("KP_IMAP_URL" in variables(mailbox, manifests)) == bool(count)
    # Who signs return paths, and who reads them, agree on them.
    told = {name: variables(one, example()).get("KP_BOUNCE_ADDRESS") for name, one in workloads(example()).items()}
    assert told["mailer"] and {name for name, said in told.items() if said == told["mailer"]} == {
        "mailer",
        "console",
        "mailbox",
    }


def test_the_example_puts_a_companys_own_in_place() -> None:
    images = {container(workload)["image"] for workload in workloads(example()).values()}
    assert images == {"registry.firma.example/kontaktpflege:0.1.0"}
    (config,) = of_kind(example(), "ConfigMap").values()
    assert "firma.example" in config["data"]["SMTP_URL"] and config["data"]["KP_HEALTH_PORT"]
    blocks = [one for one in example() if one["kind"] == "NetworkPolicy" and "192.0.2." in yaml.dump(one)]
    assert not blocks, "an address of the base that is nobody's"
