"""Fixtures of the infrastructure's tests: the repository's root and its pinned versions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# infra/ is not part of the installed package.
sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def pinned_versions(root: Path) -> dict[str, str]:
    """Return ``requirements.txt`` as a dictionary of name to version."""
    lines = (root / "requirements.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))
