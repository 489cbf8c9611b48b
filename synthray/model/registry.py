"""The models of a place, and which of them is served: the one that was promoted there last.

A place is any folder that holds models, however deep, by default ``SYNTHRAY_HOME/models``. A model's name in it is its
folder, its version its file's name. ``promoted.json`` in the place is the alias that a service follows: the promotions
so far, of which the last counts, each with the SHA-256 of the file that was meant. It is replaced in one step; when two
people promote at the same time, the later one stays, and the other one's promotion may be missing from the history.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from synthray.errors import ConfigError, Conflict, ModelError, NotFound, StorageError
from synthray.model.saved import SUFFIX, ModelCard, model_files, read_card, read_verified, resolve_model
from synthray.storage import Entry, Store, home, open_parent, open_store

FORMAT = "synthray-promoted/1"
PROMOTIONS_FILE = "promoted.json"
# So many cards are asked for at once: a bucket answers each in some ten milliseconds, however many wait.
_THREADS = 8


@dataclass(frozen=True)
class Promotion:
    """One entry of the alias. model: path of the file below the place. promoted_at: UTC, ISO 8601."""

    model: str
    sha256: str
    promoted_at: str

    def __post_init__(self) -> None:
        if not self.model.endswith(SUFFIX) or self.model.startswith("/") or ".." in self.model.split("/"):
            raise ValueError(f"{self.model!r} is no path of a {SUFFIX} file below the place")


@dataclass(frozen=True)
class Change:
    """What a promotion or a rollback did at a place; ``before`` is ``now`` where there was nothing to do."""

    place: str
    before: Promotion | None
    now: Promotion


@dataclass(frozen=True)
class ModelEntry:
    """One model of a place.

    path: of its file below the place. card: None where ``problem`` says why there is none. promoted_at: empty unless
    it is the one that is promoted. problem: why it cannot be served, or empty.
    """

    uri: str
    path: str
    size: int
    modified_s: float
    card: ModelCard | None
    promoted_at: str = ""
    problem: str = ""

    @property
    def name(self) -> str:
        """Its folder below the place, or the place's own name."""
        return self.path.rpartition("/")[0] or self.uri.split("/")[-2]

    @property
    def version(self) -> str:
        """Its file's name, without the suffix."""
        return self.path.rpartition("/")[2].removesuffix(SUFFIX)


def default_registry() -> str:
    """``SYNTHRAY_HOME/models``, as a URI."""
    return open_store(f"{home()}/models").uri


def registry_of(uri: str) -> str:
    """Where a model is promoted unless another place is named: ``SYNTHRAY_HOME/models`` above it, or its own folder."""
    place = default_registry()
    return place if _path_below(uri, place) else open_parent(uri)[0].uri


def promoted(place: str) -> Promotion | None:
    """The promotion that counts at a place; None where nothing was promoted.

    Raises:
        ModelError: the alias cannot be read. StorageError: the store cannot be reached.
    """
    history = _history(open_store(place))
    return history[-1] if history else None


def served_model(uri: str = "") -> str:
    """The URI of the ``.keras`` file that a service at ``uri`` answers with; nothing is loaded for it.

    Args:
        uri: of the file itself, of a place (the promoted one is taken, or the newest where none is), or empty (the
            default place).

    Raises:
        NotFound: there is none, or the promoted one is gone. ModelError: the promoted one is another by now.
    """
    if uri.endswith(SUFFIX):
        return resolve_model(uri)
    place = open_store(uri or default_registry())
    if (promotion := promoted(place.uri)) is None:
        return resolve_model(place.uri)
    return _unchanged(place, promotion, f"synthray models rollback --registry {place.uri}, or promote another one")


def list_models(place: str) -> list[ModelEntry]:
    """All models of a place, the newest last; one whose card or file is damaged is told as such.

    Raises:
        ModelError: the alias cannot be read. StorageError: the store cannot be reached.
    """
    store, promotion = open_store(place), promoted(place)
    files = model_files(store)
    with ThreadPoolExecutor(_THREADS) as pool:
        models = list(pool.map(lambda entry: _listed(store, entry, promotion), files))
    if promotion and promotion.model not in [entry.path for entry in files]:
        gone = f"{store.uri}/{promotion.model}", promotion.model, 0, 0.0, None, promotion.promoted_at
        models.append(ModelEntry(*gone, problem="its file is gone"))
    return models


def find_model(uri: str, place: str) -> ModelEntry:
    """The model at the URI of a ``.keras`` file, as ``list_models`` tells of it.

    Raises:
        ConfigError: it lies elsewhere. NotFound: there is none. ModelError: the alias cannot be read.
    """
    store = open_store(place)
    path = _require_path_below(resolve_model(uri), store)
    [entry] = [entry for entry in store.list(path.rpartition("/")[0]) if entry.path == path]
    return _listed(store, entry, promoted(place))


def promote(uri: str, place: str = "") -> Change:
    """Let a place serve the model at ``uri`` from now on, once every byte of it was compared with its card.

    Args:
        uri: of a ``.keras`` file. place: a folder above it; ``registry_of(uri)`` when empty.

    Raises:
        ConfigError: ``uri`` names no file, or one elsewhere. NotFound: it or its card is missing.
        ModelError: the file is not the one that its card describes, or the alias cannot be read.
    """
    if not uri.endswith(SUFFIX):
        raise ConfigError(f"{uri!r} names no {SUFFIX} file; synthray models ls shows which there are")
    store = open_store(place or registry_of(uri))
    path = _require_path_below(resolve_model(uri), store)
    if f"{path.removesuffix(SUFFIX)}.json" == PROMOTIONS_FILE:
        raise ConfigError(f"{uri}: its card has the name of the alias; rename both files, or promote it elsewhere")
    _, card = read_verified(f"{store.uri}/{path}")
    now = Promotion(path, card.sha256, datetime.now(UTC).isoformat(timespec="seconds"))
    while True:
        history = _history(store)
        before = history[-1] if history else None
        if before and (before.model, before.sha256) == (now.model, now.sha256):
            return Change(store.uri, before, before)
        try:
            store.write(PROMOTIONS_FILE, _encode([*history, now]), replace=bool(history))
            return Change(store.uri, before, now)
        except Conflict:  # someone else's first promotion was quicker: so it is the one before this
            continue


def rollback(place: str = "") -> Change:
    """Let a place serve again what was promoted before the promotion that counts, which is forgotten.

    Raises:
        NotFound: nothing was promoted before, or it is gone. ModelError: it has changed since, or is damaged.
    """
    store = open_store(place or default_registry())
    history = _history(store)
    if not history:
        raise NotFound(f"nothing is promoted at {store.uri}; synthray models promote URI does that")
    if len(history) == 1:
        raise NotFound(f"nothing was promoted at {store.uri} before {history[0].model}; promote another one instead")
    now = history[-2]
    read_verified(_unchanged(store, now, "promote another one"))
    store.write(PROMOTIONS_FILE, _encode(history[:-1]))
    return Change(store.uri, history[-1], now)


def _listed(store: Store, entry: Entry, promotion: Promotion | None) -> ModelEntry:
    uri = f"{store.uri}/{entry.path}"
    at = promotion.promoted_at if promotion and promotion.model == entry.path else ""
    try:
        card = read_card(uri)
    except StorageError as error:
        return ModelEntry(uri, entry.path, entry.size, entry.modified_s, None, at, str(error))
    except Exception as error:  # a card can be damaged in any way, and the other models are to be listed
        reason = str(error) if isinstance(error, ModelError) else f"its card cannot be read: {error!r}"
        return ModelEntry(uri, entry.path, entry.size, entry.modified_s, None, at, f"damaged: {reason}")
    changed = "has changed since" if at and promotion and promotion.sha256 != card.sha256 else ""
    return ModelEntry(uri, entry.path, entry.size, entry.modified_s, card, at, changed)


def _unchanged(store: Store, promotion: Promotion, advice: str) -> str:
    """The URI of a promoted model that is there, with the card that it had; else raises NotFound or ModelError."""
    uri = f"{store.uri}/{promotion.model}"
    if not store.exists(promotion.model):
        raise NotFound(f"{uri} was promoted, and is gone: {advice}")
    if read_card(uri).sha256 != promotion.sha256:
        raise ModelError(f"{uri} has changed since it was promoted (SHA-256 {promotion.sha256[:12]}…): {advice}")
    return uri


def _encode(history: Sequence[Promotion]) -> bytes:
    body = {"format": FORMAT, "history": [asdict(promotion) for promotion in history]}
    return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()


def _history(store: Store) -> list[Promotion]:
    """All promotions at a place, the one that counts last; raises ModelError."""
    name = f"{store.uri}/{PROMOTIONS_FILE}"
    try:
        body = json.loads(store.read(PROMOTIONS_FILE))
        if body["format"] != FORMAT or not body["history"]:
            raise ValueError(f"it is not of the format {FORMAT}")
        return [Promotion(**entry) for entry in body["history"]]
    except NotFound:
        return []
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{name} does not say what is promoted ({type(error).__name__}: {error}); remove it, then promote a model"
        ) from None


def _require_path_below(uri: str, store: Store) -> str:
    if path := _path_below(uri, store.uri):
        return path
    raise ConfigError(f"{uri} does not lie below {store.uri}; name a folder above it as the place")


def _path_below(uri: str, place: str) -> str:
    """A file's path below a place, or ``""``; on this machine two names of one folder are the same."""
    folder, file = open_parent(uri)
    inner, outer = (uri if "://" in uri else os.path.realpath(uri) for uri in (folder.uri, open_store(place).uri))
    if inner == outer:
        return file
    below = inner.removeprefix(f"{outer.rstrip('/')}/")
    return "" if below == inner else f"{below}/{file}"
