"""Every YAML file of the infrastructure is written alike, and reads alike everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from yamllint import linter
from yamllint.config import YamlLintConfig


@pytest.fixture(scope="module")
def style(root: Path) -> YamlLintConfig:
    return YamlLintConfig(file=str(root / "infra/yamllint.yaml"))


def test_yamllint_finds_nothing(root: Path, style: YamlLintConfig) -> None:
    files = [root / "cluster.yaml", *sorted((root / "infra").rglob("*.yaml"))]
    assert len(files) >= 6
    found = [f"{file}: {problem}" for file in files for problem in linter.run(file.read_text(), style, str(file))]
    assert found == []


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "a:\n   - 1\n", "a: yes\n", "a: 1 \n"])
def test_yamllint_would_find_something(style: YamlLintConfig, text: str) -> None:
    assert list(linter.run(text, style))


def test_policies_give_no_more_than_they_say(root: Path) -> None:
    """Workers touch their bucket's prefix alone; nobody is given everything."""
    policies = {file.stem: json.loads(file.read_text()) for file in sorted((root / "infra/aws").glob("*.json"))}
    assert set(policies) == {"head-policy", "worker-policy"}
    for policy in policies.values():
        assert all("*" not in statement["Action"] for statement in policy["Statement"])
    objects = [each for each in policies["worker-policy"]["Statement"] if "s3:PutObject" in each["Action"]]
    assert [each["Resource"] for each in objects] == ["arn:aws:s3:::your-bucket/synthray/*"]
