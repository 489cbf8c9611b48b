"""Flags for the fields of configuration classes. The flags themselves are listed in each command's module."""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Container
from typing import Any

from synthray.errors import ConfigError


def add_setting(parser: ArgumentParser, config: type, name: str, text: str, **options: Any) -> None:
    """Add the flag of a field of ``config``, with the field's type and default unless ``options`` replace them."""
    default = getattr(config, name)
    if default not in (None, ""):
        text += f" (default: {default})"
    options = {"type": type(default), "default": default, "help": text} | options
    parser.add_argument(f"--{name.replace('_', '-')}", **options)


def given(arguments: Namespace, names: Container[str]) -> dict[str, Any]:
    """Return the arguments with these names. A flag with the default ``SUPPRESS`` is absent if it was not given."""
    return {name: value for name, value in vars(arguments).items() if name in names}


def require_seconds(flag: str, value: float) -> float:
    """Return the value of a flag; raise ConfigError unless it is a number of seconds."""
    if not 0 <= value < math.inf:
        raise ConfigError(f"{flag} is {value}. Give a number of seconds, 0 or more.")
    return value
