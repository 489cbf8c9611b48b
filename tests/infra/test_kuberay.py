"""The Kubernetes manifests, validated without a cluster by KubeRay's definitions and Kubernetes' schemas."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

KUBERNETES = "1.33"
FILES = {"RayCluster": "raycluster.yaml", "RayJob": "rayjob.yaml", "RayService": "rayservice.yaml"}
CLUSTER_FIELD = {"RayCluster": None, "RayJob": "rayClusterSpec", "RayService": "rayClusterConfig"}

Manifest = dict[str, Any]


@pytest.fixture(scope="session")
def manifests(root: Path) -> dict[str, Manifest]:
    """Return the manifest of each kind."""
    return {kind: yaml.safe_load((root / "infra/kuberay" / name).read_text()) for kind, name in FILES.items()}


@pytest.fixture(scope="session")
def schemas(root: Path) -> dict[str, dict[str, Any]]:
    """Return KubeRay's schema of each kind, with unknown fields forbidden.

    The definitions are not part of this repository: SYNTHRAY_KUBERAY_CRDS names their folder.
    """
    folder = Path(os.environ.get("SYNTHRAY_KUBERAY_CRDS", root.parent / "shared/kuberay-crds"))
    files = sorted(folder.glob("ray.io_ray*.yaml"))
    if not files:
        pytest.skip(f"no KubeRay definitions in {folder}; SYNTHRAY_KUBERAY_CRDS names another folder")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the pure Python loader takes a minute
    definitions = [yaml.load(file.read_text(), Loader=loader) for file in files]
    found = {}
    for definition in definitions:
        (version,) = [each for each in definition["spec"]["versions"] if each["name"] == "v1"]
        found[definition["spec"]["names"]["kind"]] = closed(version["schema"]["openAPIV3Schema"])
    return found


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with unlisted fields forbidden.

    Kubernetes drops them silently.
    """
    changed = {}
    for key, value in schema.items():
        if key == "properties":
            changed[key] = {name: closed(each) for name, each in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            changed[key] = closed(value)
        else:
            changed[key] = value
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        changed.setdefault("additionalProperties", False)
    if schema.get("type") == "object" and schema.get("properties", {}).get("metadata") == {"type": "object"}:
        changed["properties"]["metadata"] = {"type": "object"}  # validated by Kubernetes itself
    return changed


def cluster_of(manifest: Manifest) -> dict[str, Any]:
    field = CLUSTER_FIELD[manifest["kind"]]
    return manifest["spec"][field] if field else manifest["spec"]


def groups_of(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Return the worker groups by name."""
    return {group["groupName"]: group for group in cluster_of(manifest)["workerGroupSpecs"]}


def templates_of(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Return the pod templates of the head and of every worker group, by name."""
    head = {"head": cluster_of(manifest)["headGroupSpec"]["template"]}
    workers = {name: group["template"] for name, group in groups_of(manifest).items()}
    assert workers, f"{manifest['kind']} has no worker groups"
    return head | workers


def container_of(template: dict[str, Any]) -> dict[str, Any]:
    (container,) = template["spec"]["containers"]
    return container


each_kind = pytest.mark.parametrize("kind", FILES)


@each_kind
def test_manifest_matches_kuberay_schema(kind: str, manifests: dict[str, Manifest], schemas: dict[str, Any]) -> None:
    assert manifests[kind]["kind"] == kind
    assert manifests[kind]["apiVersion"] == "ray.io/v1"
    jsonschema.Draft202012Validator(schemas[kind]).validate(manifests[kind])


@each_kind
def test_closed_schema_unknown_field_raises(kind: str, manifests: dict[str, Manifest], schemas: dict[str, Any]) -> None:
    manifest = copy.deepcopy(manifests[kind])
    container_of(templates_of(manifest)["head"])["imagePullPolice"] = "Always"
    with pytest.raises(jsonschema.ValidationError, match="imagePullPolice"):
        jsonschema.Draft202012Validator(schemas[kind]).validate(manifest)


@each_kind
def test_pods_match_kubernetes_schema(kind: str, manifests: dict[str, Manifest]) -> None:
    templates = templates_of(manifests[kind])
    assert "head" in templates
    for name, template in templates.items():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": template["spec"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_settings_match_schema_and_pods(root: Path, manifests: dict[str, Manifest]) -> None:
    """The pods refer to the names that settings.yaml defines."""
    settings = list(yaml.safe_load_all((root / "infra/kuberay/settings.yaml").read_text()))
    for each in settings:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    names = {each["kind"]: each["metadata"]["name"] for each in settings}
    assert set(names) == {"ConfigMap", "ServiceAccount"}
    for manifest in manifests.values():
        for template in templates_of(manifest).values():
            assert template["spec"]["serviceAccountName"] == names["ServiceAccount"]
            sources = container_of(template)["envFrom"]
            assert {"configMapRef": {"name": names["ConfigMap"]}} in sources
            assert {"secretRef": {"name": "synthray-storage", "optional": True}} in sources


def test_manifests_contain_no_secret(root: Path) -> None:
    for file in sorted((root / "infra/kuberay").glob("*.yaml")):
        kinds = [each["kind"] for each in yaml.safe_load_all(file.read_text())]
        assert kinds
        assert "Secret" not in kinds


@each_kind
def test_cluster_requires_token_and_scales(
    kind: str, manifests: dict[str, Manifest], pinned_versions: dict[str, str]
) -> None:
    cluster = cluster_of(manifests[kind])
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["rayVersion"] == pinned_versions["ray"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


@each_kind
def test_pods_are_limited_and_unprivileged(kind: str, manifests: dict[str, Manifest]) -> None:
    for template in templates_of(manifests[kind]).values():
        assert template["spec"]["restartPolicy"] == "Never"
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
        container = container_of(template)
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys() & container["resources"]["limits"].keys()
        assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_only_training_workers_have_gpus(kind: str, manifests: dict[str, Manifest]) -> None:
    groups = groups_of(manifests[kind])
    assert set(groups) == {"data", "train"}
    data, train = (container_of(groups[name]["template"]) for name in ("data", "train"))
    assert "nvidia.com/gpu" not in data["resources"]["limits"]
    assert train["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert (data["image"].rpartition(":")[2], train["image"].rpartition(":")[2]) == ("cpu", "gpu")


def test_workers_scale_from_zero_except_for_gpus_of_a_run(manifests: dict[str, Manifest]) -> None:
    """A training run counts the GPUs once, at its start."""
    for group in groups_of(manifests["RayCluster"]).values():
        assert group["minReplicas"] == group["replicas"] == 0 < group["maxReplicas"]
    groups = groups_of(manifests["RayJob"])
    assert groups["data"]["minReplicas"] == 0 < groups["data"]["maxReplicas"]
    assert groups["train"]["minReplicas"] == groups["train"]["replicas"] == groups["train"]["maxReplicas"] > 0


def test_rayjob_trains_and_deletes_its_cluster(manifests: dict[str, Manifest]) -> None:
    spec = manifests["RayJob"]["spec"]
    assert spec["entrypoint"] == "python jobs/train.py"
    assert spec["shutdownAfterJobFinishes"] is True


def test_manifest_names_are_unique(manifests: dict[str, Manifest]) -> None:
    """The operator names a Kubernetes service after each manifest."""
    names = [manifest["metadata"]["name"] for manifest in manifests.values()]
    assert len(set(names)) == len(names)
