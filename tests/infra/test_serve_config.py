"""The two Serve configurations: the one to deploy on a cluster, and the one inside of the RayService."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

PLAIN, IN_A_POD = "infra/serve.yaml", "infra/kuberay/rayservice.yaml"


def read(root: Path, name: str) -> dict[str, Any]:
    config = yaml.safe_load((root / name).read_text())
    return yaml.safe_load(config["spec"]["serveConfigV2"]) if name == IN_A_POD else config


both = pytest.mark.parametrize("name", [PLAIN, IN_A_POD])


@both
def test_serve_accepts_it(root: Path, name: str) -> None:
    schema = ServeDeploySchema.model_validate(read(root, name))
    (application,) = schema.applications
    assert (application.name, application.route_prefix) == ("synthray", "/")


@both
def test_a_misspelt_field_is_refused(root: Path, name: str) -> None:
    config = read(root, name)
    config["applications"][0]["import_pth"] = config["applications"][0].pop("import_path")
    with pytest.raises(pydantic.ValidationError, match="import_path"):
        ServeDeploySchema.model_validate(config)


def test_it_listens_to_this_machine_alone_except_in_a_pod(root: Path) -> None:
    """In a pod the probes and the service come in by the pod's address; left out, Serve listens everywhere."""
    hosts = [ServeDeploySchema.model_validate(read(root, name)).http_options.host for name in (PLAIN, IN_A_POD)]
    assert hosts == ["127.0.0.1", "0.0.0.0"]


@both
def test_the_application_takes_the_arguments(root: Path, name: str) -> None:
    """Makes the application, which loads no model yet."""
    (application,) = read(root, name)["applications"]
    module, _, function = application["import_path"].partition(":")
    assert application["args"]["model"].startswith("s3://")
    assert getattr(import_module(module), function)(application["args"]) is not None
