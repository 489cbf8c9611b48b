"""A model at a URI: the ``.keras`` file, which opens in plain Keras, and beside it a card that says what it is."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthray.errors import DataError, ModelError, NotFound
from synthray.storage import Entry, Store, home, open_parent, open_store
from synthray.synth.parameters import ParameterTable

if TYPE_CHECKING:
    import keras

FORMAT = "synthray-model/1"
SUFFIX = ".keras"
# Folders that a training keeps beside its model; whatever lies in them is not the model.
_BESIDE = {"checkpoints", "logs"}


@dataclass(frozen=True)
class ModelCard:
    """What a model is.

    table, feature_shape: what it was trained on. dataset: ``uri``, ``digest`` and ``holdout`` (``first``, ``count``:
    the rows kept from training). config: that of the training. metrics: of the epoch whose weights these are. sha256:
    of the file.
    """

    name: str
    table: ParameterTable
    feature_shape: tuple[int, int]
    epochs: int
    dataset: dict[str, Any]
    config: dict[str, Any]
    metrics: dict[str, float]
    sha256: str

    def encode(self) -> bytes:
        """The card as a JSON file."""
        body = {"format": FORMAT, **asdict(self), "table": self.table.to_json()}
        return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def decode(cls, raw: bytes, name: str) -> ModelCard:
        """The inverse of ``encode``; raises ModelError, naming the file."""
        try:
            body = json.loads(raw)
            if body.pop("format") != FORMAT:
                raise ModelError(f"{name} is not a model card of the format {FORMAT}")
            table = ParameterTable.from_json(body.pop("table"))
            return cls(table=table, feature_shape=tuple(body.pop("feature_shape")), **body)
        except (ValueError, KeyError, TypeError, AttributeError, DataError) as error:
            raise ModelError(f"{name} is not a model card ({type(error).__name__}: {error})") from None


def model_name(batches: int, epochs: int) -> str:
    """As the notebook names it: by batches and epochs."""
    return f"model_{batches}_{epochs}"


def model_version(card: ModelCard) -> str:
    """Return the version of a model for TensorFlow Serving's clients: a whole number made of its digest."""
    return str(int(card.sha256[:8], 16))


def save_model(model: keras.Model, out: str, card: ModelCard) -> str:
    """Write ``<name>.keras`` and then its card below ``out``; returns the URI of the file.

    The card carries the digest of the file, so that a reader notices when one of them is of another run. The same
    model with the same card is not written again: each file that Keras writes is another, and a promotion names one.
    """
    store = open_store(out)
    uri = f"{store.uri}/{card.name}{SUFFIX}"
    if _is_saved(model, uri, card):
        return uri
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{card.name}{SUFFIX}")
        model.save(file)
        raw = file.read_bytes()
    card = replace(card, sha256=hashlib.sha256(raw).hexdigest())
    store.write(f"{card.name}{SUFFIX}", raw)
    store.write(f"{card.name}.json", card.encode())
    return uri


def _is_saved(model: keras.Model, uri: str, card: ModelCard) -> bool:
    try:
        saved, its_card = load_model(uri)
    except (NotFound, ModelError):
        return False
    if its_card.encode() != replace(card, sha256=its_card.sha256).encode():
        return False
    weights = saved.get_weights(), model.get_weights()
    return len(weights[0]) == len(weights[1]) and all(map(np.array_equal, *weights))


def resolve_model(uri: str = "") -> str:
    """The URI of one ``.keras`` file; nothing is loaded for it.

    Args:
        uri: of the file, of a folder (the newest below it is taken), or empty (the newest under ``SYNTHRAY_HOME``).

    Raises:
        NotFound: there is none; the message says which job makes one.
    """
    store = open_store(uri or f"{home()}/models")
    if uri.endswith(SUFFIX):
        folder, file = open_parent(store.uri)
        if not folder.exists(file):
            raise NotFound(f"there is no model at {store.uri}; jobs/train.py makes one")
        return store.uri
    files = model_files(store)
    if not files:
        raise NotFound(f"{store.uri} holds no model; jobs/train.py makes one, or give --model")
    return f"{store.uri}/{files[-1].path}"


def model_files(store: Store) -> list[Entry]:
    """The ``.keras`` files below a folder, however deep, the newest last. Raises StorageError."""
    files = [entry for entry in store.list() if entry.path.endswith(SUFFIX)]
    models = [entry for entry in files if not _BESIDE.intersection(entry.path.split("/")[:-1])]
    return sorted(models, key=lambda entry: (entry.modified_s, entry.path))


def read_card(uri: str) -> ModelCard:
    """The card beside the ``.keras`` file at ``uri``.

    Raises:
        NotFound: the model has no card. ModelError: the card cannot be read.
    """
    store, file = open_parent(uri)
    name = f"{file.removesuffix(SUFFIX)}.json"
    try:
        return ModelCard.decode(store.read(name), f"{store.uri}/{name}")
    except NotFound:
        raise NotFound(f"{uri} has no card: {name} should stand beside it, as jobs/train.py writes it") from None


def read_verified(uri: str) -> tuple[bytes, ModelCard]:
    """The bytes of the ``.keras`` file at ``uri``, and the card that describes exactly these.

    Raises:
        NotFound: one of them is missing. ModelError: the file is damaged, or not the one that its card describes.
    """
    card = read_card(uri)
    store, file = open_parent(uri)
    raw = store.read(file)
    if hashlib.sha256(raw).hexdigest() != card.sha256:
        raise ModelError(f"{uri} is not the file that its card describes: its SHA-256 differs; train it again")
    return raw, card


def load_model(uri: str = "") -> tuple[keras.Model, ModelCard]:
    """The model that ``resolve_model`` finds, and its card.

    Raises:
        NotFound: there is none. ModelError: the file is damaged, or not the one that its card describes.
    """
    uri = resolve_model(uri)
    raw, card = read_verified(uri)

    import keras

    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, uri.rpartition("/")[2])
        local.write_bytes(raw)
        try:
            return keras.models.load_model(local, compile=False), card
        except (ValueError, OSError, TypeError) as error:
            raise ModelError(f"{uri} cannot be opened by Keras: {error}") from error
