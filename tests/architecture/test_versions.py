"""Libraries whose older releases have known holes are asked for, locked and installed in newer ones (S1, S11, S33)."""

import re
import tomllib
from importlib.metadata import version

import pytest

from tests.architecture import ROOT

#: The first release without the holes that are known: jinja2's ways out of its sandbox (GHSA-q2x7-8rv6-6q7h,
#: GHSA-gmj6-6f8f-6699, GHSA-cpwx-vrp4-4pq7), aiosmtplib's injected commands and answers before TLS
#: (GHSA-v3q9-hj7j-63hq, GHSA-vxj7-4xrp-5vr4).
LEAST = {"jinja2": "3.1.6", "aiosmtplib": "5.1.2"}


def numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))


@pytest.mark.parametrize("name", LEAST)
def test_s1_s11_s33_no_older_release_can_be_installed(name: str) -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    (floor,) = (found[1] for one in asked if (found := re.match(rf"{name}>=([\d.]+)", one)))
    (locked,) = (one["version"] for one in packages() if one["name"] == name)
    for found in (floor, locked, version(name)):
        assert numbers(found) >= numbers(LEAST[name]), found


def packages() -> list[dict[str, object]]:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    return [one for one in lock["package"] if "registry" in one["source"]]


def test_s33_every_file_of_the_lock_has_its_hash() -> None:
    assert len(packages()) > 50
    for package in packages():
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]  # type: ignore[misc]
        assert files, package["name"]
        for file in files:
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", file["hash"]), package["name"]
