"""The promotions of a registry, in ``promoted.json``.

It lists all promotions, each with the SHA-256 of its file, and the last one counts. The file is replaced atomically. Of
two simultaneous promotions the later one wins, and the other may be missing from the history. Promotion and rollback
are in ``registry.py``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from synthray.errors import ModelError, NotFound
from synthray.model.saved import SUFFIX
from synthray.storage import Store

FORMAT = "synthray-promoted/1"
PROMOTIONS_FILE = "promoted.json"


@dataclass(frozen=True)
class Promotion:
    """One promotion of a model."""

    model: str
    """Path of the ``.keras`` file below the registry."""
    sha256: str
    promoted_at: str
    """UTC, ISO 8601."""

    def __post_init__(self) -> None:
        if not self.model.endswith(SUFFIX) or self.model.startswith("/") or ".." in self.model.split("/"):
            raise ValueError(f"{self.model!r} is not the path of a {SUFFIX} file below the registry")


def read_history(store: Store) -> list[Promotion]:
    """Return all promotions of a registry, the one that counts last.

    Raises:
        ModelError: ``promoted.json`` is corrupt.
        StorageError: the store cannot be reached.
    """
    name = f"{store.uri}/{PROMOTIONS_FILE}"
    try:
        body = json.loads(store.read(PROMOTIONS_FILE))
        if body["format"] != FORMAT or not body["history"]:
            raise ValueError(f"its format is not {FORMAT}")
        return [Promotion(**entry) for entry in body["history"]]
    except NotFound:
        return []
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{name} is corrupt ({type(error).__name__}: {error}). Delete it, then promote a model."
        ) from None


def encode_history(history: Sequence[Promotion]) -> bytes:
    """Return a history as a JSON file."""
    body = {"format": FORMAT, "history": [asdict(promotion) for promotion in history]}
    return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()
