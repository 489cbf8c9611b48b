"""Programs outside of the package import only names that the package has.

Benchmarks run rarely and import inside functions, so that a renamed function would stay unnoticed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted(path for folder in ("benchmarks", "jobs", "infra") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_program_imports_only_names_that_exist(program: Path) -> None:
    missing = [
        f"line {node.lineno}: {node.module} has no {alias.name}"
        for node in ast.walk(ast.parse(program.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("synthray", "infra")
        for alias in node.names
        if alias.name not in _names(ROOT / node.module.replace(".", "/"))
    ]
    assert missing == []


def _names(module: Path) -> set[str]:
    """Return the names of a module or package, from its source."""
    if module.is_dir():
        source, names = module / "__init__.py", {path.stem for path in module.iterdir()}
    else:
        source, names = module.with_suffix(".py"), set()
    return names | set(_assigned(ast.parse(source.read_text()).body)) if source.exists() else names


def _assigned(statements: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements at the top of a module define or import."""
    for statement in statements:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield statement.name
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name) for alias in statement.names)
        else:
            yield from (node.id for node in ast.walk(statement) if isinstance(node, ast.Name))
            yield from (
                alias.asname or alias.name
                for node in ast.walk(statement)
                if isinstance(node, (ast.Import, ast.ImportFrom))
                for alias in node.names
            )
