"""The two Serve configurations: serve.yaml, and the one inside the RayService."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

PLAIN, IN_A_POD = "infra/serve.yaml", "infra/kuberay/rayservice.yaml"


def read(root: Path, name: str) -> dict[str, Any]:
    config = yaml.safe_load((root / name).read_text())
    return yaml.safe_load(config["spec"]["serveConfigV2"]) if name == IN_A_POD else config


both = pytest.mark.parametrize("name", [PLAIN, IN_A_POD])


@both
def test_serve_config_matches_schema(root: Path, name: str) -> None:
    schema = ServeDeploySchema.model_validate(read(root, name))
    (application,) = schema.applications
    assert (application.name, application.route_prefix) == ("synthray", "/")


def test_serve_config_listens_on_loopback_except_in_pod(root: Path) -> None:
    """In a pod, probes and services connect to the pod's IP address."""
    hosts = [ServeDeploySchema.model_validate(read(root, name)).http_options.host for name in (PLAIN, IN_A_POD)]
    assert hosts == ["127.0.0.1", "0.0.0.0"]


@both
def test_build_accepts_arguments_of_serve_config(root: Path, name: str) -> None:
    """Build the application, which loads no model yet."""
    (application,) = read(root, name)["applications"]
    module, _, function = application["import_path"].partition(":")
    assert application["args"]["model"].startswith("s3://")
    assert getattr(import_module(module), function)(application["args"]) is not None
