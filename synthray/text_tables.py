"""Text of tables in cards and reports: Markdown, cells for a terminal, and sparklines."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return a Markdown table.

    Args:
        header: title of each column.
        rows: cells, escaped already.
        right: indices of the columns to align to the right.
    """
    rules = ["---:" if column in right else "---" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rules, *rows))


def escape_cell(text: str) -> str:
    """Return the text on one line, with ``|`` escaped so that it does not end its table cell."""
    return " ".join(text.split()).replace("|", "\\|")


def printable(text: str) -> str:
    r"""Return the text with escapes such as ``\n`` for control characters, which would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def align(rows: Sequence[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """Return one line for each row, with aligned and printable cells.

    Args:
        rows: cells. A row with fewer cells than the first one widens only column 0, and is left-aligned.
        right: indices of the columns to align to the right.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    columns = len(rows[0])
    complete = [row for row in rows if len(row) == columns]
    widths = [max(map(len, column)) for column in zip(*complete, strict=True)]
    widths[0] = max(len(row[0]) for row in rows)
    lines = []
    for row in rows:
        pads = [str.rjust if number in right and len(row) == columns else str.ljust for number in range(len(row))]
        cells = (pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=False))
        lines.append("  ".join(cells).rstrip())
    return lines


def sparkline(values: Sequence[float]) -> str:
    """Return one block character for each value. Its height is the value's share of the largest one.

    Only 0 gets the lowest block.
    """
    largest, steps = max(values, default=0) or 1, len(_BLOCKS) - 1
    # divided first: a rounded product may exceed the number of steps
    return "".join(_BLOCKS[math.ceil(value / largest * steps)] for value in values)
