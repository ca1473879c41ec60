"""The Kubernetes manifests: its schemas, and what we ask of every pod besides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from front.app import create_app
from front.server import stop_bound_s
from shared.settings import Settings, variable_of
from tests.infra_files import ROOT, document, documents, faults, schema
from worker.thread import STOP_BOUND_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLDER = "infra/kubernetes"
FILES = sorted(file.name for file in (ROOT / FOLDER).glob("*.yaml") if file.name != "kustomization.yaml")
EVERYTHING = [found for name in FILES for found in documents(f"{FOLDER}/{name}")]
KUSTOMIZATION = document(f"{FOLDER}/kustomization.yaml")
PRIVATE = {"/healthz", "/readyz", "/metrics"}


def named(kind: str, name: str) -> dict[str, Any]:
    [found] = [each for each in EVERYTHING if each["kind"] == kind and each["metadata"].get("name") == name]
    return found


def pods() -> dict[str, dict[str, Any]]:
    found = {}
    for each in EVERYTHING:
        if "template" in each.get("spec", {}):
            found[each["metadata"].get("name") or each["metadata"]["generateName"]] = each["spec"]["template"]["spec"]
    return found


PODS = pods()


def fits(value: dict[str, Any]) -> list[str]:
    known = schema("kubernetes-1.31.json")
    name = known["kinds"][f"{value['apiVersion']} {value['kind']}"]
    return faults({"$schema": known["$schema"], "$defs": known["$defs"], "$ref": f"#/$defs/{name}"}, value)


@pytest.mark.parametrize("name", FILES)
def test_kubernetes_takes_it(name: str) -> None:
    for each in documents(f"{FOLDER}/{name}"):
        assert fits(each) == [], each["metadata"]


def test_the_schemas_are_strict_enough_to_see_a_wrong_word() -> None:
    front = named("Deployment", "sluice-front")
    assert fits({**front, "spec": {**front["spec"], "minReadySecs": 5}})
    assert fits({**front, "spec": {**front["spec"], "minReadySeconds": "soon"}})


def test_the_kustomization_has_all_but_secrets_and_migrations() -> None:
    left_out = {"secrets.example.yaml", "migrate-pre.yaml", "migrate-post.yaml"}
    assert set(KUSTOMIZATION["resources"]) == set(FILES) - left_out
    assert {each["metadata"].get("namespace", "sluice") for each in EVERYTHING} == {KUSTOMIZATION["namespace"]}
    [image] = KUSTOMIZATION["images"]
    assert {container["image"] for pod in PODS.values() for container in pod["containers"]} == {
        image["name"],
        f"{image['newName']}:{image['newTag']}",
    }


@pytest.mark.parametrize("name", PODS)
def test_a_pod_can_write_nothing_become_nobody_and_ask_the_cluster_nothing(name: str) -> None:
    pod = PODS[name]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", PODS)
def test_secrets_are_files_that_exist_and_settings_are_ones_we_know(name: str) -> None:
    pod = PODS[name]
    known = {variable_of(setting) for setting in Settings.model_fields}
    for volume in pod["volumes"]:
        if "secret" in volume:
            assert set(named("Secret", volume["secret"]["secretName"])["stringData"])
    for container in pod["containers"]:
        variables = {each["name"]: each["value"] for each in container.get("env", [])}
        for source in container.get("envFrom", []):
            assert "secretRef" not in source
            variables |= named("ConfigMap", source["configMapRef"]["name"])["data"]
        assert set(variables) <= known
        places = {each["mountPath"] for each in container["volumeMounts"]}
        assert variables["SLUICE_SECRETS_DIR"] in places
        assert {each["name"] for each in container["volumeMounts"]} <= volumes_of(name)
    for secret in ("sluice-front", "sluice-worker", "sluice-migrator"):
        assert set(named("Secret", secret)["stringData"]) <= known


def volumes_of(name: str) -> set[str]:
    claims = {
        claim["metadata"]["name"]
        for each in EVERYTHING
        if each["metadata"].get("name") == name
        for claim in each.get("spec", {}).get("volumeClaimTemplates", [])
    }
    return claims | {volume["name"] for volume in PODS[name]["volumes"]}


def test_nobody_is_killed_before_he_is_done() -> None:
    front = PODS["sluice-front"]
    [container] = front["containers"]
    given = {each["name"]: each["value"] for each in container["env"]}
    assert front["terminationGracePeriodSeconds"] > stop_bound_s(
        Settings(drain_wait_s=float(given["SLUICE_DRAIN_WAIT_S"]))
    )
    assert PODS["sluice-worker"]["terminationGracePeriodSeconds"] > STOP_BOUND_S


def test_readiness_looks_at_what_payments_need_and_liveness_at_nothing_else() -> None:
    [front] = PODS["sluice-front"]["containers"]
    assert front["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert front["livenessProbe"]["httpGet"]["path"] == front["startupProbe"]["httpGet"]["path"] == "/healthz"
    rolling = named("Deployment", "sluice-front")["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": 1}


def test_selectors_find_the_pods_and_ports_have_their_names() -> None:
    for kind, name in (("Deployment", "sluice-front"), ("StatefulSet", "sluice-worker")):
        labels = named(kind, name)["spec"]["template"]["metadata"]["labels"]
        assert named(kind, name)["spec"]["selector"]["matchLabels"] == labels
        assert named("Service", name)["spec"]["selector"] == labels
        assert named("PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"] == labels
        assert (
            named("NetworkPolicy", labels["app.kubernetes.io/component"])["spec"]["podSelector"]["matchLabels"]
            == labels
        )
        [container] = PODS[name]["containers"]
        ports = {port["name"] for port in container["ports"]}
        assert {port["targetPort"] for port in named("Service", name)["spec"]["ports"]} <= ports
    scaled = named("HorizontalPodAutoscaler", "sluice-front")["spec"]
    assert scaled["scaleTargetRef"]["name"] == "sluice-front"
    assert scaled["minReplicas"] >= 2
    assert "replicas" not in named("Deployment", "sluice-front")["spec"]


def test_every_public_door_is_open_and_no_private_one() -> None:
    rules = [rule for each in EVERYTHING if each["kind"] == "Ingress" for rule in each["spec"]["rules"]]
    paths = [(path["path"], path["pathType"]) for rule in rules for path in rule["http"]["paths"]]

    def is_open(door: str) -> bool:
        return any(
            door == path or (kind == "Prefix" and door.startswith(f"{path.rstrip('/')}/")) for path, kind in paths
        )

    doors = set(paths_of(create_app(Settings(database_url="postgresql://nowhere/x")).routes))
    assert {"/post", "/v1/events", "/healthz"} <= doors
    assert {door for door in doors if not is_open(door)} == PRIVATE & doors
    assert not any(is_open(door) for door in PRIVATE)


def paths_of(routes: Iterable[BaseRoute]) -> Iterator[str]:
    for route in routes:
        included = getattr(route, "original_router", None)  # how the framework keeps a router that was included
        if included is not None:
            yield from paths_of(included.routes)
        else:
            assert isinstance(route, Route | WebSocketRoute | Mount)
            yield route.path


def test_only_payments_are_repeated_in_mid_request() -> None:
    for each in EVERYTHING:
        if each["kind"] == "Ingress":
            repeated = (
                "non_idempotent" in each["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-next-upstream"]
            )
            [rule] = each["spec"]["rules"]
            doors = {path["path"] for path in rule["http"]["paths"]}
            assert repeated == (doors == {"/post", "/v1/packages/verify"})
