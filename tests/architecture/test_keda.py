"""Scaling mailers by the queue: deploy/kubernetes/keda against KEDA's fields and our own figures."""

import copy
import json
from typing import Any

import jsonschema
import pytest

from services.mailer.service import BATCHES_ASKED_FOR
from shared.bus.messages import WriteOrderReady
from shared.bus.topology import route_of
from tests.architecture import ROOT
from tests.architecture.manifests import Manifest, base, example, example_secrets, of_kind, settings

SCHEMA = json.loads((ROOT / "tests" / "architecture" / "keda.schema.json").read_text(encoding="utf-8"))


def scaled() -> Manifest:
    (found,) = of_kind(example(), "ScaledObject").values()
    return found


def trigger() -> Manifest:
    (found,) = scaled()["spec"]["triggers"]
    result: Manifest = found
    return result


def check(manifest: Manifest) -> None:
    # Not `oneOf`: of two kinds the error should name the field.
    kind = manifest["kind"][0].lower() + manifest["kind"][1:]
    jsonschema.validate(manifest, {"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{kind}"})


def test_all_its_fields_are_kedas() -> None:
    found = [one for one in example() if one["apiVersion"].startswith("keda.sh/")]
    assert {one["kind"] for one in found} == {"ScaledObject", "TriggerAuthentication"}
    for one in found:
        check(one)
        jsonschema.validate(one, SCHEMA)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        (("spec",), "cooldownPeriod", "coolDownPeriod"),
        (("spec",), "minReplicaCount", "minReplicas"),
        (("spec", "scaleTargetRef"), "name", "nmae"),
        (("spec", "fallback"), "failureThreshold", "failureTreshold"),
        (("spec", "triggers", 0, "metadata"), "excludeUnacknowledged", "excludeUnacked"),
        (("spec", "triggers", 0, "metadata"), "queueName", "queue"),
        (("spec", "triggers", 0), "authenticationRef", "authenticationref"),
        (
            ("spec", "advanced", "horizontalPodAutoscalerConfig", "behavior", "scaleDown"),
            "stabilizationWindowSeconds",
            "stabilisationWindowSeconds",
        ),
    ],
)
def test_a_mistyped_key_is_refused(path: tuple[Any, ...], old: str, new: str) -> None:
    changed = copy.deepcopy(scaled())
    part: Any = changed
    for step in path:
        part = part[step]
    part[new] = part.pop(old)
    with pytest.raises(jsonschema.ValidationError, match=f"{new}|{old}"):
        check(changed)


def test_a_number_where_keda_reads_text_is_refused() -> None:
    changed = copy.deepcopy(scaled())
    changed["spec"]["triggers"][0]["metadata"]["value"] = 5000
    with pytest.raises(jsonschema.ValidationError, match="5000"):
        check(changed)


def test_it_counts_all_letters_of_the_queue_that_mailers_read() -> None:
    asked = trigger()["metadata"]
    assert asked["queueName"] == route_of(WriteOrderReady).queue
    # Only this protocol counts what mailers hold and have not done yet.
    assert (asked["protocol"], asked["mode"], asked["excludeUnacknowledged"]) == ("http", "QueueLength", "false")
    mailer = of_kind(example(), "StatefulSet")["mailer"]
    held = BATCHES_ASKED_FOR * settings(mailer, example()).claim_batch
    assert float(asked["value"]) > held, "what one mailer holds must not ask for a second one"


def test_it_scales_the_mailers_and_nothing_sets_their_number_back() -> None:
    target = scaled()["spec"]["scaleTargetRef"]
    mailer = of_kind(example(), target["kind"])[target["name"]]
    assert mailer["apiVersion"] == target["apiVersion"]
    assert "replicas" not in mailer["spec"]
    least = of_kind(base(), target["kind"])[target["name"]]["spec"]["replicas"]
    spec = scaled()["spec"]
    # The journal of a mailer is settled by one that starts: never none.
    assert 1 <= least == spec["minReplicaCount"] == spec["fallback"]["replicas"] < spec["maxReplicaCount"]


def test_no_mailer_goes_while_its_longest_letter_may_take() -> None:
    mailer = settings(of_kind(example(), "StatefulSet")["mailer"], example())
    longest = mailer.kp_smtp_timeout_seconds + mailer.kp_smtp_final_timeout_seconds
    down = scaled()["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert scaled()["spec"]["cooldownPeriod"] > longest and down["stabilizationWindowSeconds"] > longest


def test_its_password_comes_from_a_secret() -> None:
    name = trigger()["authenticationRef"]["name"]
    (source,) = of_kind(example(), "TriggerAuthentication")[name]["spec"]["secretTargetRef"]
    assert source["parameter"] == "host" and source["key"] in example_secrets()[source["name"]]
    assert "host" not in trigger()["metadata"]
