"""Model registries: folders of models, each with one promoted model.

A registry is any folder with models at any depth, by default ``SYNTHRAY_HOME/models``. Services answer with its
promoted model. A model's name is its folder below the registry, and its version is its file name. The promotions file
is read and written in ``promotions.py``, models in ``saved.py``.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from synthray.errors import ConfigError, Conflict, ModelError, NotFound, StorageError
from synthray.model.promotions import PROMOTIONS_FILE, Promotion, encode_history, read_history
from synthray.model.saved import SUFFIX, ModelCard, model_files, read_card, read_verified, resolve_model
from synthray.model.shipped import NAME as SHIPPED
from synthray.model.shipped import shipped_model
from synthray.storage import Entry, Store, home, open_parent, open_store

# Cards are read concurrently, because a bucket takes some 10 ms for each.
_THREADS = 8


@dataclass(frozen=True)
class Change:
    """The result of a promotion or a rollback."""

    registry: str
    before: Promotion | None
    """Equal to ``now`` if nothing changed."""
    now: Promotion


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

    @property
    def name(self) -> str:
        """Folder below the registry, or the name of the registry itself."""
        return self.path.rpartition("/")[0] or self.uri.split("/")[-2]

    @property
    def version(self) -> str:
        """File name without the suffix."""
        return self.path.rpartition("/")[2].removesuffix(SUFFIX)


def default_registry() -> str:
    """Return the URI of ``SYNTHRAY_HOME/models``."""
    return open_store(f"{home()}/models").uri


def registry_of(uri: str) -> str:
    """Return the default registry if the model is below it, else its folder."""
    registry = default_registry()
    return registry if _path_below(uri, registry) else open_parent(uri)[0].uri


def promoted(registry: str) -> Promotion | None:
    """Return the promotion that counts, or None if nothing was promoted.

    Raises:
        ModelError: ``promoted.json`` is corrupt.
        StorageError: the store cannot be reached.
    """
    history = read_history(open_store(registry))
    return history[-1] if history else None


def served_model(uri: str = "") -> str:
    """Return the URI of the model that a service at ``uri`` answers with.

    It does not load the model.

    Args:
        uri: of a ``.keras`` file, or of a registry: its promoted model, or its newest if none is promoted. The default
            is the default registry or, while that is empty, the model that comes with the package, which is also called
            ``shipped``.

    Raises:
        NotFound: there is no model, or the promoted one is missing.
        ModelError: the promoted model has changed since.
    """
    if uri == SHIPPED:
        return shipped_model()
    if uri.endswith(SUFFIX):
        return resolve_model(uri)
    store = open_store(uri or default_registry())
    if (promotion := promoted(store.uri)) is None:
        return resolve_model(store.uri) if uri or model_files(store) else shipped_model()
    return _require_unchanged(
        store, promotion, f"Run synthray models rollback --registry {store.uri}, or promote another model."
    )


def list_models(registry: str) -> list[ModelEntry]:
    """Return all models of a registry, the newest last, corrupt ones included.

    Raises:
        ModelError: ``promoted.json`` is corrupt.
        StorageError: the store cannot be reached.
    """
    store, promotion = open_store(registry), promoted(registry)
    files = model_files(store)
    with ThreadPoolExecutor(_THREADS) as pool:
        models = list(pool.map(lambda file: _read_entry(store, file, promotion), files))
    if promotion and promotion.model not in [file.path for file in files]:
        missing = f"{store.uri}/{promotion.model}", promotion.model, 0, 0.0, None, promotion.promoted_at
        models.append(ModelEntry(*missing, problem="its file is missing"))
    return models


def find_model(uri: str, registry: str) -> ModelEntry:
    """Return the entry of one ``.keras`` file, as ``list_models`` has it.

    Raises:
        ConfigError: the model is not below the registry.
        NotFound: there is no such model.
        ModelError: ``promoted.json`` is corrupt.
    """
    store = open_store(registry)
    path = _require_path_below(resolve_model(uri), store)
    return _read_entry(store, store.entry(path), promoted(registry))


def promote(uri: str, registry: str = "") -> Change:
    """Make ``uri`` the promoted model of a registry, after verifying its SHA-256.

    Args:
        uri: of a ``.keras`` file.
        registry: a folder above it. The default is ``registry_of(uri)``.

    Raises:
        ConfigError: ``uri`` is not a ``.keras`` file, or not below the registry.
        NotFound: the model or its card is missing.
        ModelError: the file does not match its card, or ``promoted.json`` is corrupt.
    """
    if not uri.endswith(SUFFIX):
        raise ConfigError(f"{uri!r} is not a {SUFFIX} file. Run synthray models ls to list the models.")
    store = open_store(registry or registry_of(uri))
    path = _require_path_below(resolve_model(uri), store)
    if f"{path.removesuffix(SUFFIX)}.json" == PROMOTIONS_FILE:
        raise ConfigError(f"{uri}: its card would be overwritten by {PROMOTIONS_FILE}. Rename the model and its card.")
    _, card = read_verified(f"{store.uri}/{path}")
    now = Promotion(path, card.sha256, datetime.now(UTC).isoformat(timespec="seconds"))
    while True:
        history = read_history(store)
        before = history[-1] if history else None
        if before and (before.model, before.sha256) == (now.model, now.sha256):
            return Change(store.uri, before, before)
        try:
            store.write(PROMOTIONS_FILE, encode_history([*history, now]), replace=bool(history), durable=True)
            return Change(store.uri, before, now)
        except Conflict:  # another process made the first promotion meanwhile
            continue


def rollback(registry: str = "") -> Change:
    """Undo the last promotion of a registry, and remove it from the history.

    Raises:
        NotFound: there is no earlier promotion, or its model is missing.
        ModelError: the earlier model has changed since, or is corrupt.
    """
    store = open_store(registry or default_registry())
    history = read_history(store)
    if not history:
        raise NotFound(f"nothing is promoted at {store.uri}. Run synthray models promote URI.")
    if len(history) == 1:
        raise NotFound(f"nothing was promoted at {store.uri} before {history[0].model}. Promote another model instead.")
    now = history[-2]
    read_verified(_require_unchanged(store, now, "Promote another model."))
    store.write(PROMOTIONS_FILE, encode_history(history[:-1]), durable=True)
    return Change(store.uri, history[-1], now)


def _read_entry(store: Store, file: Entry, promotion: Promotion | None) -> ModelEntry:
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


def _require_unchanged(store: Store, promotion: Promotion, advice: str) -> str:
    """Return the URI of a promoted model.

    Raises:
        NotFound: it is missing.
        ModelError: it has changed since.
    """
    uri = f"{store.uri}/{promotion.model}"
    if not store.exists(promotion.model):
        raise NotFound(f"{uri} was promoted, but its file is missing. {advice}")
    if read_card(uri).sha256 != promotion.sha256:
        raise ModelError(f"{uri} has changed since it was promoted (SHA-256 {promotion.sha256[:12]}…). {advice}")
    return uri


def _require_path_below(uri: str, store: Store) -> str:
    if path := _path_below(uri, store.uri):
        return path
    raise ConfigError(f"{uri} is not below the registry {store.uri}. Name a folder above it as the registry.")


def _path_below(uri: str, registry: str) -> str:
    """Return a file's path below a registry, or ``""``; local links are resolved."""
    folder, file = open_parent(uri)
    inner, outer = (uri if "://" in uri else os.path.realpath(uri) for uri in (folder.uri, open_store(registry).uri))
    if inner == outer:
        return file
    below = inner.removeprefix(f"{outer.rstrip('/')}/")
    return "" if below == inner else f"{below}/{file}"
