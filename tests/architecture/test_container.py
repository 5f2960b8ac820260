"""The Containerfile: a linter's view, and what a platform asks of an image. No engine is needed for that."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture import ROOT

CONTAINERFILE = ROOT / "Containerfile"
#: Its instructions, one a line.
LINES = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", CONTAINERFILE.read_text(encoding="utf-8"))).splitlines()


def findings(path: Path) -> list[tuple[str, str]]:
    """What hadolint finds: rule and level."""
    done = subprocess.run(
        [Path(sys.executable).parent / "hadolint", "--no-fail", "--format", "json", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [(found["code"], found["level"]) for found in json.loads(done.stdout)]


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of a kind, in order."""
    return [line.split(maxsplit=1)[1] for line in LINES if line.split(maxsplit=1)[:1] == [name]]


def test_the_linter_finds_nothing() -> None:
    assert findings(CONTAINERFILE) == []


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("USER 10001:10001", "USER root", "DL3002"),
        ("FROM ${PYTHON}\n", "FROM docker.io/library/python:latest\n", "DL3007"),
        ("tini=0.19.*", "tini", "DL3008"),
        ('ENTRYPOINT ["/usr/bin/tini", "--", "kontaktpflege"]', "ENTRYPOINT kontaktpflege", "DL3025"),
        ("uv==0.13.9", "uv", "DL3013"),
    ],
)
def test_the_linter_would_find(old: str, new: str, rule: str, tmp_path: Path) -> None:
    text = CONTAINERFILE.read_text(encoding="utf-8")
    assert old in text
    changed = tmp_path / "Containerfile"
    changed.write_text(text.replace(old, new))
    assert rule in {code for code, _ in findings(changed)}


def test_what_builds_stays_behind() -> None:
    build, final = "\n".join(LINES).split("FROM ")[1:]
    assert "pip install" in build and "pip" not in final and " uv" not in final
    assert "--no-dev" in build and "--frozen" in build


def test_it_runs_as_a_numbered_user_below_an_init() -> None:
    (user,) = instructions("USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    (entry,) = instructions("ENTRYPOINT")
    assert json.loads(entry)[:2] == ["/usr/bin/tini", "--"] and "tini=" in "\n".join(instructions("RUN"))
    # The one folder that it writes is its own, and where the settings look for it.
    uid, gid = user.split(":")
    assert f"--owner={uid} --group={gid} /state" in "\n".join(instructions("RUN"))
    assert "KP_STATE_DIR=/state" in "\n".join(instructions("ENV"))


def test_labels_say_what_it_is() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', " ".join(instructions("LABEL"))))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert labels["description"] == project["description"] and labels["title"].lower() == project["name"]
    assert (labels["version"], labels["revision"]) == ("${VERSION}", "${REVISION}")
    assert {"VERSION=unreleased", "REVISION=unknown"} <= set(instructions("ARG"))


def test_only_what_is_needed_can_get_in() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "*"
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    copied = {name for line in instructions("COPY") if "--from" not in line for name in line.split()[:-1]}
    assert {name.removeprefix("./") for name in copied} == allowed
    assert not re.search(r"(?i)password|secret|token", "\n".join([*instructions("ENV"), *instructions("ARG")]))
