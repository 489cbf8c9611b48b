"""The model that comes with the package, so that a sound can be matched right after installation.

``infra/ship_model.py`` puts it here. ``model/registry.py`` finds your own models.
"""

from __future__ import annotations

from pathlib import Path

from synthray.errors import NotFound

NAME = "shipped"
_FOLDER = Path(__file__).parent


def shipped_model() -> str:
    """Return the path of the model's ``.keras`` file.

    Raises:
        NotFound: this copy of the package has none.
    """
    file = _FOLDER / f"{NAME}.keras"
    if not file.exists():
        raise NotFound(f"{file}: the model that comes with synthray is missing. Install synthray again.")
    return str(file)


def is_shipped(uri: str) -> bool:
    """Return whether a URI names the shipped model."""
    return Path(uri) == _FOLDER / f"{NAME}.keras"
