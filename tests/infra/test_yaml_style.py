"""The style of the infrastructure's YAML files."""

from __future__ import annotations

from pathlib import Path

from yamllint import linter
from yamllint.config import YamlLintConfig


def test_yaml_files_have_no_yamllint_findings(root: Path) -> None:
    style = YamlLintConfig(file=str(root / "infra/yamllint.yaml"))
    files = [root / "cluster.yaml", *sorted((root / "infra").rglob("*.yaml"))]
    assert len(files) >= 6
    assert [f"{file}: {each}" for file in files for each in linter.run(file.read_text(), style, str(file))] == []
