"""cluster.yaml as Ray's launcher reads it, with no cloud asked."""

from __future__ import annotations

import copy
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray._private.runtime_env.packaging import get_excludes_from_ignore_files
from ray.autoscaler._private.util import prepare_config, validate_config


@pytest.fixture(scope="module")
def written(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "cluster.yaml").read_text())


@pytest.fixture(scope="module")
def config(written: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the launcher's defaults filled in: what would really run."""
    return prepare_config(copy.deepcopy(written))


def test_the_launcher_accepts_it(config: dict[str, Any]) -> None:
    validate_config(config)
    assert config["provider"]["type"] == "aws"


def test_a_misspelt_field_is_refused(written: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minuets"):
        validate_config(prepare_config(written | {"idle_timeout_minuets": 5}))


def test_the_dashboard_listens_to_the_head_alone(config: dict[str, Any]) -> None:
    starts = [words for command in config["head_start_ray_commands"] if "start" in (words := shlex.split(command))]
    assert len(starts) == 1
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "--dashboard-port=8265" in starts[0]  # where `ray dashboard` looks
    assert "0.0.0.0" not in yaml.safe_dump(config)


def test_every_node_asks_for_the_token_and_has_it(config: dict[str, Any]) -> None:
    """``run_options`` are those of all containers; the file they name is one that the launcher copies."""
    options = config["docker"]["run_options"]
    assert "-e RAY_AUTH_MODE=token" in options
    (path,) = [option.partition("RAY_AUTH_TOKEN_PATH=")[2] for option in options if "RAY_AUTH_TOKEN_PATH" in option]
    assert config["file_mounts"] == {path: "~/.ray/auth_token"}


def test_it_holds_no_secret(root: Path) -> None:
    text = (root / "cluster.yaml").read_text()
    assert not re.search(r"AKIA|AWS_ACCESS_KEY|AWS_SECRET|RAY_AUTH_TOKEN=|BEGIN .*PRIVATE KEY", text)


def test_nodes_reach_the_bucket_by_their_role(config: dict[str, Any]) -> None:
    for name, node in config["available_node_types"].items():
        profile = "synthray-head" if name == config["head_node_type"] else "synthray-worker"
        assert node["node_config"]["IamInstanceProfile"] == {"Name": profile}
        assert node["node_config"]["MetadataOptions"] == {"HttpTokens": "required"}


def test_the_head_runs_no_work(config: dict[str, Any]) -> None:
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}


def test_workers_come_on_demand(config: dict[str, Any]) -> None:
    workers = {name: node for name, node in config["available_node_types"].items() if name != config["head_node_type"]}
    assert set(workers) == {"data", "train"}
    for node in workers.values():
        assert node["min_workers"] == 0
        assert 0 < node["max_workers"] <= config["max_workers"]


def test_data_workers_have_no_gpu_and_training_workers_have(config: dict[str, Any]) -> None:
    data, train = (config["available_node_types"][name] for name in ("data", "train"))
    assert "GPU" not in data["resources"]
    assert data["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert train["resources"]["GPU"] == 1
    assert re.match(r"[gp]\d", train["node_config"]["InstanceType"])
    assert train["docker"]["worker_image"].endswith(":gpu")
    assert "--gpus all" in train["docker"]["worker_run_options"]


def test_the_image_is_used_as_it_is(config: dict[str, Any]) -> None:
    """Left out, the launcher's defaults would install another Ray on every node."""
    for commands in ("setup_commands", "head_setup_commands", "worker_setup_commands"):
        assert config[commands] == []


@pytest.mark.parametrize(
    ("path", "sent"),
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
def test_a_submitted_job_takes_the_source_alone(root: Path, path: str, sent: bool) -> None:
    excludes = get_excludes_from_ignore_files(root, include_gitignore=True)
    assert len(excludes) == 2  # .gitignore and .rayignore
    assert any(exclude(root / path) for exclude in excludes) != sent
