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


def test_docs_fault_rows_name_existing_tests_with_the_mark() -> None:
    rows = [line for line in (ROOT / "docs/faults.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    for row in rows:
        named = re.findall(r"`((?:[a-z]+/)*test_\w+\.py)(?:::(test_\w+))?`", row.split(" | ")[-1])
        assert named, f"no test: {row}"
        for file, function in named:
            paths = [ROOT / "tests/cluster" / file, ROOT / "tests" / file]
            source = next(path for path in paths if path.exists()).read_text()
            marked = re.search(r"^pytestmark = .*mark\.faults", source, re.MULTILINE)
            if function:
                found = re.search(rf"((?:^@.*\n)*)^def {function}\(", source, re.MULTILINE)
                assert found, f"{file} has no {function}"
                marked = marked or "mark.faults" in found[1]
            assert marked, f"{file}: {function} lacks pytest.mark.faults"


def test_docs_architecture_names_existing_files_and_objects() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    files = re.findall(r"`((?!jobs/|docs/)(?:[a-z_]+/)+\w+\.(?:py|js))`(?: \((`\w+`(?:, `\w+`)*)\))?", text)
    assert len(files) > 40
    for file, names in files:
        source = (ROOT / "synthray" / file).read_text()
        for name in re.findall(r"\w+", names):
            assert re.search(rf"\b((def|class) {name}\b|^{name}\b.* = )", source, re.MULTILINE), f"{file}: no {name}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_docs_commands_are_valid(page: Path) -> None:
    for command in commands(page):
        arguments = shlex.split(command)[1:]
        build_parser(arguments).parse_args(arguments)


def test_docs_contain_commands() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 15
