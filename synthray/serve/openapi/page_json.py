"""JSON for people: short values in one line, and long ones shortened with an ellipsis."""

from __future__ import annotations

import json
from typing import Any

LINE_CHARACTERS = 150
"""A value up to this length stays in one line."""
TEXT_CHARACTERS = 160
"""A longer line of text, such as a sound in base64, is shortened."""
FIRST_CHARACTERS = 40
FIRST_NUMBERS = 4
"""Count of numbers that are shown of a long array."""


def shown_json(value: Any, indent: int = 0) -> str:
    """Return a JSON value in lines; long arrays of numbers, and long texts, are shortened."""
    line = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        return shown_text(line)
    if not isinstance(value, dict | list) or len(line) + indent <= LINE_CHARACTERS:
        return line
    if isinstance(value, dict):
        keys = {json.dumps(key, ensure_ascii=False): shown_json(each, indent + 2) for key, each in value.items()}
        return _block("{", [f"{key}: {each}" for key, each in keys.items()], "}", indent)
    if _holds_numbers(value):
        return _shortened(value)
    return _block("[", [shown_json(each, indent + 2) for each in value], "]", indent)


def shown_text(text: str) -> str:
    """Return text whose long lines are shortened."""
    return "\n".join(
        line if len(line) <= TEXT_CHARACTERS else f"{line[:FIRST_CHARACTERS]}… {len(line):,} characters"
        for line in text.split("\n")
    )


def _holds_numbers(values: list[Any]) -> bool:
    """Return whether an array has only numbers or arrays of them."""
    return all(isinstance(each, int | float) or (isinstance(each, list) and _holds_numbers(each)) for each in values)


def _shortened(values: list[Any]) -> str:
    """Return the first numbers of an array, or the first of several arrays, and their count."""
    if isinstance(values[0], list):
        return f"[{_shortened(values[0])}, … {len(values)} arrays]" if values[1:] else f"[{_shortened(values[0])}]"
    first = ", ".join(json.dumps(each) for each in values[:FIRST_NUMBERS])
    return f"[{first}, … {len(values)} numbers]"


def _block(start: str, lines: list[str], end: str, indent: int) -> str:
    inner = " " * (indent + 2)
    return f"{start}\n" + ",\n".join(inner + line for line in lines) + f"\n{' ' * indent}{end}"
