"""Markdown tables and sparklines, for the cards of data sets and searches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return a Markdown table. ``right`` names the columns that are aligned to the right; cells are escaped already."""
    rules = ["---:" if column in right else "---" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rules, *rows))


def escape_cell(text: str) -> str:
    """Return text that cannot end its table cell."""
    return " ".join(text.split()).replace("|", "\\|")


def sparkline(values: Sequence[float]) -> str:
    """Return one block character a value, its height the value's share of the largest; the lowest only for 0."""
    largest, steps = max(values, default=0) or 1, len(_BLOCKS) - 1
    return "".join(_BLOCKS[-int(-steps * value // largest)] for value in values)
