"""The models of a registry as their files and cards describe them.

Their numbers and promotions are given in ``registry.py``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from synthray.errors import ModelError, StorageError
from synthray.model.promotions import Promotion
from synthray.model.saved import SUFFIX, ModelCard, model_files, read_card
from synthray.storage import Entry, Store

# Cards are read concurrently, because a bucket takes some 10 ms for each.
_THREADS = 8


@dataclass(frozen=True)
class ModelEntry:
    """One model of a registry."""

    uri: str
    path: str
    """Path of its file below the registry."""
    size: int
    """Bytes."""
    modified_s: float
    card: ModelCard | None
    """None if the card cannot be read. ``problem`` gives the reason."""
    promoted_at: str = ""
    """Empty unless it is the promoted model."""
    problem: str = ""
    """The reason why it cannot be served, or empty."""
    number: int = 0
    """Its version for clients of a service; 0 if the card cannot be read."""

    @property
    def name(self) -> str:
        """Folder below the registry, or the name of the registry itself."""
        return self.path.rpartition("/")[0] or self.uri.split("/")[-2]

    @property
    def version(self) -> str:
        """File name without the suffix."""
        return self.path.rpartition("/")[2].removesuffix(SUFFIX)


def read_entries(store: Store, promotion: Promotion | None = None) -> list[ModelEntry]:
    """Return the models of a registry, the newest last, without their numbers."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda file: read_entry(store, file, promotion), model_files(store)))


def sha256s(models: list[ModelEntry]) -> list[str]:
    """Return the SHA-256 of each model whose card can be read."""
    return [model.card.sha256 for model in models if model.card]


def read_entry(store: Store, file: Entry, promotion: Promotion | None) -> ModelEntry:
    """Return one model of a registry without its number. An unreadable card is its ``problem``."""
    uri = f"{store.uri}/{file.path}"
    promoted_at = promotion.promoted_at if promotion and promotion.model == file.path else ""
    card, problem = None, ""
    try:
        card = read_card(uri)
        if promoted_at and promotion and promotion.sha256 != card.sha256:
            problem = "has changed since"
    except StorageError as error:
        problem = str(error)
    except ModelError as error:
        problem = f"corrupt: {error}"
    except Exception as error:  # one unreadable card must not hide the other models
        problem = f"corrupt: its card cannot be read: {error!r}"
    return ModelEntry(uri, file.path, file.size, file.modified_s, card, promoted_at, problem)
