"""cluster.yaml as Ray's launcher reads it, without a cloud."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray._private.runtime_env.packaging import get_excludes_from_ignore_files
from ray.autoscaler._private.util import prepare_config, validate_config


@pytest.fixture(scope="module")
def config(root: Path) -> dict[str, Any]:
    """Return the configuration with the launcher's defaults filled in."""
    return prepare_config(yaml.safe_load((root / "cluster.yaml").read_text()))


def test_cluster_yaml_is_accepted_by_launcher(config: dict[str, Any]) -> None:
    validate_config(config)
    assert config["provider"]["type"] == "aws"


def test_dashboard_listens_on_loopback_only(config: dict[str, Any]) -> None:
    starts = [words for command in config["head_start_ray_commands"] if "start" in (words := shlex.split(command))]
    assert len(starts) == 1
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "--dashboard-port=8265" in starts[0]  # the port that `ray dashboard` forwards
    assert "0.0.0.0" not in yaml.safe_dump(config)


def test_every_node_requires_the_copied_token(config: dict[str, Any]) -> None:
    """All containers get ``run_options``; the launcher copies the token file."""
    options = config["docker"]["run_options"]
    assert "-e RAY_AUTH_MODE=token" in options
    (path,) = [option.partition("RAY_AUTH_TOKEN_PATH=")[2] for option in options if "RAY_AUTH_TOKEN_PATH" in option]
    assert config["file_mounts"] == {path: "~/.ray/auth_token"}


def test_cluster_yaml_contains_no_secret(root: Path) -> None:
    text = (root / "cluster.yaml").read_text()
    assert not re.search(r"AKIA|AWS_ACCESS_KEY|AWS_SECRET|RAY_AUTH_TOKEN=|BEGIN .*PRIVATE KEY", text)


def test_nodes_use_instance_profiles(config: dict[str, Any]) -> None:
    for name, node in config["available_node_types"].items():
        profile = "synthray-head" if name == config["head_node_type"] else "synthray-worker"
        assert node["node_config"]["IamInstanceProfile"] == {"Name": profile}
        assert node["node_config"]["MetadataOptions"] == {"HttpTokens": "required"}


def test_head_offers_no_cpu(config: dict[str, Any]) -> None:
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}


def test_workers_scale_from_zero(config: dict[str, Any]) -> None:
    workers = {name: node for name, node in config["available_node_types"].items() if name != config["head_node_type"]}
    assert set(workers) == {"data", "train"}
    for node in workers.values():
        assert node["min_workers"] == 0
        assert 0 < node["max_workers"] <= config["max_workers"]


def test_only_training_workers_have_gpus(config: dict[str, Any]) -> None:
    data, train = (config["available_node_types"][name] for name in ("data", "train"))
    assert "GPU" not in data["resources"]
    assert data["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert train["resources"]["GPU"] == 1
    assert re.match(r"[gp]\d", train["node_config"]["InstanceType"])
    assert train["docker"]["worker_image"].endswith(":gpu")
    assert "--gpus all" in train["docker"]["worker_run_options"]


def test_setup_commands_are_empty(config: dict[str, Any]) -> None:
    """The launcher's defaults would install another Ray on every node."""
    for commands in ("setup_commands", "head_setup_commands", "worker_setup_commands"):
        assert config[commands] == []


@pytest.mark.parametrize(
    ("path", "uploaded"),
    [
        ("jobs/train.py", True),
        ("synthray/synth/parameters.py", True),
        ("pyproject.toml", True),
        (".venv", False),
        (".git", False),
        ("tests", False),
        ("infra", False),
        ("models/model_9_20.keras", False),
        ("fft/fft_batch_0.npy", False),
    ],
)
def test_submitted_job_uploads_source_only(root: Path, path: str, uploaded: bool) -> None:
    excludes = get_excludes_from_ignore_files(root, include_gitignore=True)
    assert len(excludes) == 2  # .gitignore and .rayignore
    assert any(exclude(root / path) for exclude in excludes) != uploaded
