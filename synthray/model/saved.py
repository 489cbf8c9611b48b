"""Saved models: a ``.keras`` file and a JSON card that describes it.

The file opens, predicts and trains in plain Keras without synthray.
The promoted model of a folder is in ``registry.py``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from synthray.errors import Conflict, DataError, ModelError, NotFound
from synthray.model.heads import HeadLayout
from synthray.model.numpy_network import agrees_with_keras, read_network
from synthray.model.shipped import NAME as SHIPPED
from synthray.model.shipped import shipped_model
from synthray.storage import Entry, Store, home, open_parent, open_store, scratch_folder
from synthray.synth.parameters import ParameterTable

if TYPE_CHECKING:
    import keras

FORMAT = "synthray-model/1"
SUFFIX = ".keras"
# Folders that a training writes next to its model. A `.keras` file in them is not a saved model.
_TRAINING_FOLDERS = {"checkpoints", "logs"}


@dataclass(frozen=True)
class ModelCard:
    """The description of a saved model."""

    name: str
    table: ParameterTable
    """The parameters that it was trained on."""
    feature_shape: tuple[int, int]
    """``(frames, bins)`` of its input."""
    epochs: int
    dataset: dict[str, Any]
    """``uri``, ``digest``, ``first_part`` (digest of its first source; older cards lack it), and ``holdout`` (``first``
    and ``count`` of the rows that were not trained on)."""
    config: dict[str, Any]
    """Configuration of the training."""
    metrics: dict[str, float]
    """Metrics of the epoch whose weights were saved."""
    sha256: str
    """SHA-256 of the ``.keras`` file."""
    bins: int = 0
    """Bins of a range's histogram; 0 if the model predicts a range as one number."""
    analysis: str = "fft"
    """Name of the analysis that makes its features of a sound: a key of ``synthray.synth.features.ANALYSES``."""
    numpy: bool = True
    """False if NumPy cannot compute its outputs, or if they differ from those of Keras. Older cards lack this field."""

    def encode(self) -> bytes:
        """Return the card as a JSON file."""
        body = {"format": FORMAT, **asdict(self), "table": self.table.to_json()}
        return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def decode(cls, raw: bytes, name: str) -> ModelCard:
        """Read a card from a JSON file; the inverse of ``encode``.

        Args:
            raw: the file.
            name: of the file, for messages.

        Raises:
            ModelError: the file is not a model card.
        """
        try:
            body = json.loads(raw)
            if body.pop("format") != FORMAT:
                raise ModelError(f"{name} is not a model card of the format {FORMAT}")
            table = ParameterTable.from_json(body.pop("table"))
            return cls(table=table, feature_shape=tuple(body.pop("feature_shape")), **body)
        except (ValueError, KeyError, TypeError, AttributeError, DataError) as error:
            raise ModelError(f"{name} is not a model card ({type(error).__name__}: {error})") from None


def model_name(batches: int, epochs: int) -> str:
    """Return a model's name, as in the notebook."""
    return f"model_{batches}_{epochs}"


def save_model(model: keras.Model, out: str, card: ModelCard) -> str:
    """Write ``<name>.keras``, then its card below ``out``; return the file's URI.

    An existing file with the same weights is kept, because Keras writes different bytes each time and promotions name a
    SHA-256. A corrupt file is replaced.

    Raises:
        Conflict: there is another model of this name.
        StorageError: the store refuses or cannot be reached.
    """
    store = open_store(out)
    uri = f"{store.uri}/{card.name}{SUFFIX}"
    with scratch_folder("model") as folder:
        file = folder / f"{card.name}{SUFFIX}"
        model.save(file)
        raw = file.read_bytes()
    layout = HeadLayout(card.table, card.bins)
    network = read_network(raw, layout, card.feature_shape, card.name)
    agrees = network is not None and agrees_with_keras(network, model, layout, card.feature_shape)
    card = replace(card, numpy=agrees)
    try:
        store.write(f"{card.name}{SUFFIX}", raw, replace=False)
    except Conflict:
        # Another training may be saving at the same time. Its file and our card would not match.
        present = store.read(f"{card.name}{SUFFIX}")
        if _has_weights(present, uri, model.get_weights()):
            if _has_card(present, uri):
                return uri
            raw = present
        elif _is_corrupt(present, uri):
            store.write(f"{card.name}{SUFFIX}", raw, durable=True)
        else:
            raise Conflict(
                f"{uri}: another training has saved its model here, or is saving it. Give another --out."
            ) from None
    card = replace(card, sha256=hashlib.sha256(raw).hexdigest())
    store.write(f"{card.name}.json", card.encode(), durable=True)
    return uri


def _has_weights(raw: bytes, uri: str, weights: list[np.ndarray]) -> bool:
    try:
        saved_weights = open_model(raw, uri).get_weights()
    except ModelError:
        return False
    return len(saved_weights) == len(weights) and all(map(np.array_equal, saved_weights, weights))


def _has_card(raw: bytes, uri: str) -> bool:
    """Return whether a file has a card with its SHA-256."""
    try:
        return read_card(uri).sha256 == hashlib.sha256(raw).hexdigest()
    except (NotFound, ModelError):
        return False


def _is_corrupt(raw: bytes, uri: str) -> bool:
    """Return whether a file cannot be opened, or has a card that it does not match."""
    try:
        open_model(raw, uri)
        return read_card(uri).sha256 != hashlib.sha256(raw).hexdigest()
    except NotFound:
        return False
    except ModelError:
        return True


def resolve_model(uri: str = "") -> str:
    """Return the URI of one ``.keras`` file, without loading it.

    Args:
        uri: of the file, or of a folder, whose newest model is taken. The default is the models of ``SYNTHRAY_HOME``.
            ``shipped`` names the model of the package.

    Raises:
        NotFound: there is no model.
    """
    if uri == SHIPPED:
        return shipped_model()
    store = open_store(uri or f"{home()}/models")
    if uri.endswith(SUFFIX):
        folder, file = open_parent(store.uri)
        if not folder.exists(file):
            raise NotFound(f"there is no model at {store.uri}. Run synthray train to make one.")
        return store.uri
    files = model_files(store)
    if not files:
        raise NotFound(f"{store.uri} holds no model. Run synthray train to make one, or give --model.")
    return f"{store.uri}/{files[-1].path}"


def model_files(store: Store) -> list[Entry]:
    """Return the ``.keras`` files at any depth below a folder, the newest last.

    Raises:
        StorageError: the store cannot be reached.
    """
    files = [entry for entry in store.list() if entry.path.endswith(SUFFIX)]
    models = [entry for entry in files if not _TRAINING_FOLDERS.intersection(entry.path.split("/")[:-1])]
    return sorted(models, key=lambda entry: (entry.modified_s, entry.path))


def read_card(uri: str) -> ModelCard:
    """Read the card of the ``.keras`` file at ``uri``.

    Raises:
        NotFound: the model has no card.
        ModelError: the card is corrupt.
    """
    store, file = open_parent(uri)
    name = f"{file.removesuffix(SUFFIX)}.json"
    try:
        return ModelCard.decode(store.read(name), f"{store.uri}/{name}")
    except NotFound:
        raise NotFound(f"{uri} has no card: {name} is missing from its folder. Run synthray train again.") from None


def read_verified(uri: str) -> tuple[bytes, ModelCard]:
    """Read the ``.keras`` file at ``uri`` and its card, and compare their SHA-256.

    Raises:
        NotFound: the file or its card is missing.
        ModelError: the card is corrupt, or the file does not match it.
    """
    card = read_card(uri)
    store, file = open_parent(uri)
    raw = store.read(file)
    if hashlib.sha256(raw).hexdigest() != card.sha256:
        raise ModelError(f"{uri} does not match its card: its SHA-256 differs. Train the model again.")
    return raw, card


def load_model(uri: str = "") -> tuple[keras.Model, ModelCard]:
    """Load the model that ``resolve_model`` finds, and its card.

    Raises:
        NotFound: there is no model.
        ModelError: the file is corrupt, or does not match its card.
    """
    uri = resolve_model(uri)
    raw, card = read_verified(uri)
    return open_model(raw, uri), card


def open_model(raw: bytes, uri: str) -> keras.Model:
    """Open the bytes of a ``.keras`` file in Keras; raise ModelError if it is corrupt."""
    import keras

    with scratch_folder("model") as folder:
        local = folder / uri.rpartition("/")[2]
        local.write_bytes(raw)
        try:
            # Safe mode refuses layers with pickled Python code, so that a model file cannot run any.
            return keras.models.load_model(local, compile=False, safe_mode=True)
        except (ValueError, OSError, TypeError) as error:
            raise ModelError(f"{uri} cannot be opened by Keras: {error}") from error
