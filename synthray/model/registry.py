"""Model registries: folders of models, each with one promoted model.

A registry is any folder with models at any depth, by default ``SYNTHRAY_HOME/models``. Services answer with its
promoted model. A model's name is its folder below the registry, and its version is its file name. For clients of a
service, the models are numbered from 1 in the order of their files' times; a promotion freezes the numbers. The
promotions file is read and written in ``promotions.py``, models in ``saved.py``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from synthray.errors import ConfigError, Conflict, ModelError, NotFound
from synthray.model.entries import ModelEntry, read_entries, read_entry, sha256s
from synthray.model.promotions import PROMOTIONS_FILE, Promotion, Promotions, read_promotions
from synthray.model.saved import SUFFIX, model_files, read_card, read_verified, resolve_model
from synthray.model.shipped import NAME as SHIPPED
from synthray.model.shipped import shipped_model
from synthray.storage import Store, home, open_parent, open_store


@dataclass(frozen=True)
class Change:
    """The result of a promotion or a rollback."""

    registry: str
    before: Promotion | None
    """Equal to ``now`` if nothing changed."""
    now: Promotion


def default_registry() -> str:
    """Return the URI of ``SYNTHRAY_HOME/models``."""
    return open_store(f"{home()}/models").uri


def registry_of(uri: str) -> str:
    """Return the default registry if the model is below it, else the model's folder."""
    registry = default_registry()
    return registry if _path_below(uri, registry) else open_parent(uri)[0].uri


def promoted(registry: str) -> Promotion | None:
    """Return the promotion that counts, or None if nothing was promoted.

    Raises:
        ModelError: ``promoted.json`` is corrupt.
        StorageError: the store cannot be reached.
    """
    return read_promotions(open_store(registry)).newest


def served_model(uri: str = "") -> str:
    """Return the URI of the model that a service at ``uri`` answers with.

    It does not load the model.

    Args:
        uri: a ``.keras`` file, or a registry. A registry stands for its promoted model, or its newest one if none is
            promoted. By default, it is the default registry or, if that is empty, the model that comes with the
            package. ``shipped`` always names the latter.

    Raises:
        NotFound: there is no model, or the promoted one is missing.
        ModelError: the promoted model has changed since.
    """
    if uri == SHIPPED or uri.endswith(SUFFIX):
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
    store = open_store(registry)
    promotions = read_promotions(store)
    promotion = promotions.newest
    models = read_entries(store, promotion)
    numbers = promotions.number(sha256s(models))
    models = [replace(model, number=numbers[model.card.sha256]) if model.card else model for model in models]
    if promotion and promotion.model not in [model.path for model in models]:
        missing = f"{store.uri}/{promotion.model}", promotion.model, 0, 0.0, None, promotion.promoted_at
        number = numbers.get(promotion.sha256, 0)
        models.append(ModelEntry(*missing, problem="its file is missing", number=number))
    return models


def find_model(uri: str, registry: str) -> ModelEntry:
    """Return the entry of one ``.keras`` file, as in ``list_models``.

    Raises:
        ConfigError: the model is not below the registry.
        NotFound: there is no such model.
        ModelError: ``promoted.json`` is corrupt.
    """
    store = open_store(registry)
    path = _require_path_below(resolve_model(uri), store)
    promotions = read_promotions(store)
    model = read_entry(store, store.entry(path), promotions.newest)
    return replace(model, number=_number(store, promotions, model.card.sha256)) if model.card else model


def model_number(uri: str, registry: str = "") -> int:
    """Return the number of a ``.keras`` file among the models of its registry.

    Args:
        uri: of the file.
        registry: a folder above the file. If it is empty or not above the file, ``registry_of(uri)`` is used.

    Raises:
        NotFound: the model has no card.
        ModelError: its card or ``promoted.json`` is corrupt.
    """
    store = open_store(registry if registry and _path_below(uri, registry) else registry_of(uri))
    return _number(store, read_promotions(store), read_card(uri).sha256)


def promote(uri: str, registry: str = "") -> Change:
    """Make ``uri`` the promoted model of a registry, after verifying its SHA-256.

    A promotion freezes the numbers of all models that the registry has at that time.

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
        promotions = read_promotions(store)
        before = promotions.newest
        if before and (before.model, before.sha256) == (now.model, now.sha256):
            return Change(store.uri, before, before)
        numbers = promotions.number([*sha256s(read_entries(store)), card.sha256])
        changed = Promotions((*promotions.history, now), numbers)
        try:
            store.write(PROMOTIONS_FILE, changed.encode(), replace=before is not None, durable=True)
            return Change(store.uri, before, now)
        except Conflict:  # another process made the first promotion meanwhile
            continue


def rollback(registry: str = "") -> Change:
    """Undo the last promotion of a registry, and remove it from the history. Numbers stay.

    Raises:
        NotFound: there is no earlier promotion, or its model is missing.
        ModelError: the earlier model has changed since, or is corrupt.
    """
    store = open_store(registry or default_registry())
    promotions = read_promotions(store)
    history = promotions.history
    if not history:
        raise NotFound(f"nothing is promoted at {store.uri}. Run synthray models promote URI.")
    if len(history) == 1:
        raise NotFound(f"nothing was promoted at {store.uri} before {history[0].model}. Promote another model instead.")
    now = history[-2]
    read_verified(_require_unchanged(store, now, "Promote another model."))
    store.write(PROMOTIONS_FILE, replace(promotions, history=history[:-1]).encode(), durable=True)
    return Change(store.uri, history[-1], now)


def _number(store: Store, promotions: Promotions, sha256: str) -> int:
    """Return the number of a model; other cards are read only if no promotion has frozen the number."""
    frozen = promotions.numbers.get(sha256)
    return frozen or promotions.number([*sha256s(read_entries(store)), sha256])[sha256]


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
