"""Every role with the variables, files, folders and user of its pod, on a file system that is read-only otherwise."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from shared.db.role_grants import SHARES
from tests.architecture.manifests import base, container, files, of_kind, variables
from tests.mail_server import MailServer
from tests.servers.processes import free_port
from tests.stacks import QUIET_MOMENT, Stack

JOB, ORDERS = "Prozesshänger", 40
ON_BUS = ("scheduler", "evaluator", "mailer", "console")
ROLES = (*ON_BUS, "public", "mailbox")
#: The pods' user and group (deploy/kubernetes/base/every-pod.yaml).
USER = 10001
#: One folder stays writable, wherever it is; then root becomes that user, in no other group and without any right of
#: root's.
SEALED = """
set -e
mount --make-rprivate /
around=$(df --output=target "$1" | tail -n 1)
mount --bind "$1" "$1"
for place in / /tmp /var/tmp /dev/shm "$around"; do
  if mountpoint --quiet "$place"; then mount -o remount,bind,ro "$place"; fi
done
shift
exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$@"
"""


def give(path: Path) -> None:
    """As `fsGroup` leaves a volume or a secret: root's, the group's to write or to read."""
    os.chown(path, 0, USER)
    path.chmod(0o2775 if path.is_dir() else 0o440)


class Pods:
    """Processes as the manifests would start them."""

    def __init__(self, folder: Path, stack: Stack, secrets: dict[str, str]) -> None:
        self.folder, self._stack, self._secrets = folder, stack, secrets
        self.health = {role: free_port() for role in ROLES}
        self.page = free_port()

    def start(self, name: str) -> None:
        """One pod of a workload; the addresses of other machines are replaced by this one's."""
        workload = of_kind(base(), "Deployment", "StatefulSet", "Job")[name]
        environment = variables(workload, base())
        for mount in container(workload)["volumeMounts"]:
            here = self.folder / name / mount["mountPath"].strip("/")
            here.mkdir(parents=True)
            give(here)
            environment = {key: value.replace(mount["mountPath"], str(here)) for key, value in environment.items()}
            for path, secret, key in files(workload):
                if path.startswith(mount["mountPath"]):
                    (here / Path(path).name).write_text(self._secrets[f"{secret}/{key}"])
                    give(here / Path(path).name)
            if mount["mountPath"] == "/tmp":
                environment["TMPDIR"] = str(here)
        environment |= {
            # Looked up by the runtime in the image; there it is read-only, here it is not there at all.
            "HOME": "/nowhere",
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "SMTP_URL": self._stack.environment["SMTP_URL"],
            "KP_CLOCK_START": QUIET_MOMENT,
            "KP_HEALTH_PORT": str(self.health.get(name, 0)),
        }
        environment |= {
            "console": {"KP_CONSOLE_PORT": str(free_port())},
            # Nobody is there: it goes on looking.
            "mailbox": {"KP_IMAP_URL": f"imap://bounce@127.0.0.1:{free_port()}"},
            "public": {"KP_PUBLIC_PORT": str(self.page)},
        }.get(name, {})
        if name in ("mailer", "console", "public"):
            environment["KP_PUBLIC_URL"] = f"http://127.0.0.1:{self.page}/kontakt"
        log = (self._stack.folder / f"{name}.log").open("wb")
        arguments = [one.replace("=kontaktpflege_", "=kp_pod_") for one in container(workload)["args"]]
        arguments = [f"{one}_{os.getpid()}" if one.startswith("--grant") else one for one in arguments]
        command = [*self._sealed(name), sys.executable, "-m", "services", *arguments]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self._stack.processes.append((name, process))

    def run(self, name: str, *command: str) -> int:
        """A command in the surroundings of a pod; its exit code."""
        (self.folder / name).mkdir(exist_ok=True)
        give(self.folder / name)
        return subprocess.run([*self._sealed(name), *command], stderr=subprocess.DEVNULL, check=False).returncode

    def _sealed(self, name: str) -> list[str]:
        return ["unshare", "--mount", "sh", "-c", SEALED, "pod", str(self.folder / name)]

    def asked(self, role: str, path: str) -> tuple[int, Any]:
        """What a probe is answered; 0: nobody is there."""
        try:
            with urlopen(f"http://127.0.0.1:{self.health[role]}{path}", timeout=5) as answer:
                return answer.status, json.loads(answer.read())
        except HTTPError as exc:
            return exc.code, json.loads(exc.read())
        except OSError:
            return 0, None


@pytest.fixture
def roles(distributed_stack: Stack, servers: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The addresses of the services' roles in the database, as an administrator has made them, by their share."""
    url = make_url(distributed_stack.environment["DATABASE_URL"])
    names = {share: f"kp_pod_{share}_{os.getpid()}" for share in SHARES}
    with closing(psycopg.connect(servers["TEST_DATABASE_URL"], autocommit=True)) as connection:
        for name in names.values():
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(name)))
    yield {
        share: url.set(username=name, password="x").render_as_string(hide_password=False)
        for share, name in names.items()
    }
    with closing(psycopg.connect(str(url.render_as_string(hide_password=False)), autocommit=True)) as connection:
        for name in names.values():
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def pods(distributed_stack: Stack, roles: dict[str, str]) -> Iterator[Pods]:
    may = ["unshare", "--mount", "setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "true"]
    if os.geteuid() or subprocess.run(may, capture_output=True, check=False).returncode:
        pytest.fail(
            "a pod's file system and user are made with mount, unshare and setpriv (util-linux): run this test as "
            "root, in a container with --cap-add SYS_ADMIN and --security-opt seccomp=unconfined, or --deselect it"
        )
    stack = distributed_stack
    # It is filled while the pods run.
    stack.copies = False
    broker = stack.environment["BROKER_URL"]
    secrets = {f"broker/{role}": broker for role in ON_BUS}
    secrets |= {f"database/{share}": url for share, url in roles.items()}
    secrets |= {"database/owner": stack.environment["DATABASE_URL"], "links/keys": "x" * 48}
    secrets |= dict.fromkeys(("mail-server/password", "mailbox/password"), "unused")
    # Not below pytest's own folder, into which nobody else may look; everybody may write here but for the mount.
    folder = Path(tempfile.mkdtemp(prefix="pods-"))
    folder.chmod(0o777)
    yield Pods(folder, stack, secrets)
    shutil.rmtree(folder, ignore_errors=True)


def noted(stack: Stack) -> int:
    """The hashes under which wishes are noted."""
    with closing(psycopg.connect(stack.environment["DATABASE_URL"])) as connection:
        row = connection.execute("SELECT count(*) FROM suppressions").fetchone()
    return int(row[0]) if row else 0


def test_every_role_does_its_work_in_its_pod(pods: Pods, distributed_stack: Stack, smtp: MailServer) -> None:
    stack = distributed_stack
    wait: Callable[[Callable[[], bool], float, str], None] = stack.wait_for
    assert pods.run("nobody", "touch", str(pods.folder / "nobody" / "file")) == 0
    assert pods.run("nobody", "touch", str(pods.folder / "file")) != 0, "it would not be noticed who writes elsewhere"
    for role in ROLES:
        pods.start(role)
    wait(lambda: all(pods.asked(role, "/livez")[0] == 200 for role in ROLES), 60, "the answers of /livez")
    # There is no schema yet: they wait for it, unready and alive.
    assert all(pods.asked(role, "/readyz")[0] == 503 for role in ROLES)
    pods.start("migrate")
    wait(lambda: "migrate" not in dict(stack.running()), 60, "the migration")
    assert dict(stack.processes)["migrate"].returncode == 0, stack.logs()
    wait(lambda: all(pods.asked(role, "/readyz")[0] == 200 for role in ROLES), 60, "readiness")
    stack.load_many(ORDERS)
    stack.answer("job", "run", JOB, "--on", "2026-11-23")
    wait(lambda: len(smtp.accepted) == ORDERS, 90, "the letters")
    wait(lambda: stack.states() == {"sent": ORDERS}, 30, "the settlements")
    said = [message_from_bytes(mail.content, policy=policy.default)["List-Unsubscribe"] for mail in smtp.accepted]
    links = {str(one).strip("<>") for one in said}
    assert len(links) == ORDERS
    # As a mail program's button does it.
    with urlopen(links.pop(), b"List-Unsubscribe=One-Click", timeout=10) as answer:
        assert answer.status == 200 and answer.headers["Referrer-Policy"] == "no-referrer"
    wait(lambda: noted(stack) == 2, 30, "that the wish is noted")
    state = pods.folder / "mailer" / "state"
    journals = list(state.glob("mailer-*.journal"))
    assert journals, "the journal is not where the pod's volume is"
    assert {journal.stat().st_uid for journal in journals} == {USER}
    (said,) = (pods.folder / "public" / "state").glob("said-*.sqlite3")
    assert said.stat().st_uid == USER and b"opt_out" in said.read_bytes(), "what was said is not in the page's volume"
    assert set(stack.stop().values()) == {0}, stack.logs()
