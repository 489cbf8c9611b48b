"""The IAM policies of the cluster's nodes: each action only on this cluster's instances and bucket prefix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler.tags import (
    TAG_RAY_CLUSTER_NAME,
    TAG_RAY_FILE_MOUNTS_CONTENTS,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_RUNTIME_CONFIG,
)

Statement = dict[str, Any]
OF_THIS_CLUSTER = f"ec2:ResourceTag/{TAG_RAY_CLUSTER_NAME}"


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.fixture(scope="module")
def policies(root: Path) -> dict[str, list[Statement]]:
    """File name to statements."""
    files = sorted((root / "infra/aws").glob("*.json"))
    return {file.stem: json.loads(file.read_text())["Statement"] for file in files}


@pytest.fixture(scope="module")
def head(policies: dict[str, list[Statement]]) -> list[Statement]:
    return policies["head-policy"]


@pytest.fixture(scope="module")
def cluster(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "cluster.yaml").read_text())


def allowing(statements: list[Statement], action: str) -> list[Statement]:
    """Return the statements that name ``action``; there must be one."""
    found = [each for each in statements if action in as_list(each["Action"])]
    assert found, action
    return found


def test_policies_name_every_action(policies: dict[str, list[Statement]]) -> None:
    """No wildcard but ``ec2:Describe*``, which reads only."""
    assert set(policies) == {"head-policy", "worker-policy"}
    for statements in policies.values():
        assert {each["Effect"] for each in statements} == {"Allow"}
        assert not any({"NotAction", "NotResource"} & each.keys() for each in statements)
        wildcards = {action for each in statements for action in as_list(each["Action"]) if "*" in action}
        assert wildcards <= {"ec2:Describe*"}


def test_head_policy_only_describes_everything(head: list[Statement]) -> None:
    everything = [each for each in head if "*" in as_list(each["Resource"])]
    assert [each["Action"] for each in everything] == ["ec2:Describe*"]


@pytest.mark.parametrize("action", ["ec2:TerminateInstances", "ec2:StartInstances", "ec2:StopInstances"])
def test_head_policy_stops_only_this_cluster(head: list[Statement], cluster: dict[str, Any], action: str) -> None:
    for statement in allowing(head, action):
        assert statement["Condition"]["StringEquals"][OF_THIS_CLUSTER] == cluster["cluster_name"]


def test_head_policy_cannot_tag_foreign_instances(head: list[Statement], cluster: dict[str, Any]) -> None:
    """With the cluster's tag, the head could terminate a foreign instance.

    Ray's autoscaler writes tags at launch, and three status tags later.
    """
    at_launch, later = allowing(head, "ec2:CreateTags")
    assert at_launch["Condition"] == {"StringEquals": {"ec2:CreateAction": "RunInstances"}}
    assert later["Condition"]["StringEquals"] == {OF_THIS_CLUSTER: cluster["cluster_name"]}
    keys = {TAG_RAY_NODE_STATUS, TAG_RAY_RUNTIME_CONFIG, TAG_RAY_FILE_MOUNTS_CONTENTS}
    assert set(later["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"]) == keys


def test_head_policy_launches_only_workers_of_cluster_yaml(head: list[Statement], cluster: dict[str, Any]) -> None:
    launched, used = allowing(head, "ec2:RunInstances")
    assert launched["Resource"] == "arn:aws:ec2:*:*:instance/*"
    assert not [resource for resource in used["Resource"] if ":instance/" in resource or resource.endswith(":*")]
    equals = launched["Condition"]["StringEquals"]
    assert equals[f"aws:RequestTag/{TAG_RAY_CLUSTER_NAME}"] == cluster["cluster_name"]
    nodes = cluster["available_node_types"]
    workers = [node["node_config"] for name, node in nodes.items() if name != cluster["head_node_type"]]
    assert set(equals["ec2:InstanceType"]) == {node["InstanceType"] for node in workers}
    (profile,) = {node["IamInstanceProfile"]["Name"] for node in workers}
    assert launched["Condition"]["ArnLike"] == {"ec2:InstanceProfile": f"arn:aws:iam::*:instance-profile/{profile}"}


def test_head_policy_passes_worker_role_to_instances_only(head: list[Statement]) -> None:
    (statement,) = allowing(head, "iam:PassRole")
    assert statement["Resource"] == "arn:aws:iam::*:role/synthray-worker"
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


def test_worker_policy_writes_only_below_its_prefix(policies: dict[str, list[Statement]]) -> None:
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"):
        for statement in allowing(policies["worker-policy"], action):
            assert statement["Resource"] == "arn:aws:s3:::your-bucket/synthray/*"
    (listing,) = allowing(policies["worker-policy"], "s3:ListBucket")
    assert listing["Resource"] == "arn:aws:s3:::your-bucket"
