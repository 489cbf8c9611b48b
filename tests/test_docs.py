"""README and docs: links, named files and tests exist, and every command parses."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from synthray.cli.main import build_parser

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "infra").rglob("*.md"))]


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands(page: Path) -> list[str]:
    """Return the ``synthray`` commands in a page's indented code blocks, without their comments."""
    lines = [line.strip() for line in page.read_text().splitlines() if line.startswith("    ")]
    lines = [re.sub(r"^(\w+=\S+ +)+", "", line).partition(" #")[0] for line in lines]
    return [line for line in lines if re.match(r"synthray [a-z]", line)]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_docs_relative_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_docs_fault_rows_name_existing_tests() -> None:
    named = re.findall(
        r"`(?:[a-z]+/)?(test_[a-z_]+\.py)(?:::(test_[a-z0-9_]+))?`", (ROOT / "docs/faults.md").read_text()
    )
    assert len(named) > 10
    for file, function in named:
        [found] = (ROOT / "tests").rglob(file) if file != "test_faults.py" else [ROOT / "tests/cluster" / file]
        assert not function or f"def {function}(" in found.read_text(), f"{file} has no {function}"


def test_docs_architecture_names_existing_files_and_objects() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    files = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`(?: \(`(\w+)`)?", text)
    assert len(files) > 10
    for file, name in files:
        source = (ROOT / "synthray" / file).read_text()
        assert not name or re.search(rf"\b(def|class) {name}\b", source), f"{file} does not define {name}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_docs_commands_are_valid(page: Path) -> None:
    for command in commands(page):
        arguments = shlex.split(command)[1:]
        build_parser(arguments).parse_args(arguments)


def test_docs_contain_commands() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 20
