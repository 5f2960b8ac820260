"""deploy/kubernetes as `kubectl kustomize` makes it: no cluster is needed for that."""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from shared.settings import Settings, load_settings
from tests.architecture import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
#: The kinds that start pods.
WORKLOADS = ("Deployment", "StatefulSet", "Job")
Manifest = dict[str, Any]


def render(folder: Path) -> list[Manifest]:
    """What a kustomization comes to."""
    done = subprocess.run(
        [Path(sys.executable).parent / "kubectl", "kustomize", folder],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@cache
def base() -> list[Manifest]:
    """The base."""
    return render(FOLDER / "base")


@cache
def example() -> list[Manifest]:
    """The example of an overlay, with KEDA."""
    return render(FOLDER / "example")


@cache
def example_secrets() -> dict[str, set[str]]:
    """The keys of each secret that the pods and KEDA need."""
    documents = yaml.safe_load_all((FOLDER / "secrets.example.yaml").read_text(encoding="utf-8"))
    return {document["metadata"]["name"]: set(document["stringData"]) for document in documents}


def of_kind(manifests: list[Manifest], *kinds: str) -> dict[str, Manifest]:
    """Those of some kinds, by name."""
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] in kinds}


def pod(workload: Manifest) -> Manifest:
    """What its pods are to be."""
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Manifest) -> Manifest:
    """The one container of its pods."""
    (only,) = pod(workload)["containers"]
    result: Manifest = only
    return result


def labels(workload: Manifest) -> dict[str, str]:
    """What its pods are chosen by."""
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def variables(workload: Manifest, manifests: list[Manifest]) -> dict[str, str]:
    """The environment of its pods."""
    found: dict[str, str] = {}
    for source in container(workload).get("envFrom", []):
        found |= of_kind(manifests, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    return found | {one["name"]: one["value"] for one in container(workload)["env"]}


def settings(workload: Manifest, manifests: list[Manifest]) -> Settings:
    """The settings that its process will have, without what stands in files; raises InvalidSettings."""
    found = variables(workload, manifests)
    given = {name: value for name, value in found.items() if not name.endswith("_FILE")}
    # Of the files this one is asked for together with others.
    secret = {"KP_LINK_KEYS": "x" * 32} if "KP_LINK_KEYS_FILE" in found else {}
    return load_settings(given | secret, Path("/nowhere/.env"))


def files(workload: Manifest) -> Iterator[tuple[str, str, str]]:
    """Each secret's file in its pods: path, secret and key."""
    volumes = {volume["name"]: volume for volume in pod(workload)["volumes"]}
    for mount in container(workload)["volumeMounts"]:
        for source in volumes.get(mount["name"], {}).get("projected", {}).get("sources", []):
            for item in source["secret"]["items"]:
                yield f"{mount['mountPath']}/{item['path']}", source["secret"]["name"], item["key"]


def chooses(selector: Manifest, chosen: dict[str, str]) -> bool:
    """Whether a label selector, or a plain choice of labels, takes these labels."""
    if not {"matchLabels", "matchExpressions"} & set(selector):
        return selector.items() <= chosen.items()
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In"
        if chosen.get(rule["key"]) not in rule["values"]:
            return False
    return bool(selector.get("matchLabels", {}).items() <= chosen.items())
