"""Predictions of a saved model: from features to outputs and labels.

Sounds and presets are in ``synthray.match``, HTTP is in ``synthray.serve``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from synthray.errors import ModelError
from synthray.model.distribution import PresetDistribution, likeliest_labels, medians
from synthray.model.heads import HeadLayout, output_name
from synthray.model.numpy_network import NumpyNetwork, read_network
from synthray.model.saved import ModelCard, open_model, read_verified, resolve_model
from synthray.synth.parameters import Choice, Range
from synthray.synth.voice import usable_cores

if TYPE_CHECKING:
    import keras

MAX_ROWS = 1024
"""Largest number of rows per call of the network, to bound its memory."""
MIN_ROWS = 32
"""Smallest number of rows that is worth a thread of its own."""
_CORES = usable_cores()
CERTAIN_BINS = 32
"""Bins of the histogram for a range that the model predicts as one number."""


class Predictor:
    """One model and its card, safe to call from several threads.

    Args:
        model: the network, in NumPy or in Keras. Keras is imported only for a Keras model.
        card: of the model.

    Raises:
        ModelError: the model's input or outputs differ from those in its card.
    """

    def __init__(self, model: NumpyNetwork | keras.Model, card: ModelCard) -> None:
        self.card = card
        self.frames, self.bins = card.feature_shape
        self._layout = HeadLayout(card.table, card.bins)
        if isinstance(model, NumpyNetwork):
            self._network: Callable[[np.ndarray], np.ndarray] = model
        else:
            from synthray.model.keras_network import KerasNetwork

            self._network = KerasNetwork(model, self._layout, card.feature_shape, card.name)

    @classmethod
    def load(cls, uri: str) -> Predictor:
        """Load the ``.keras`` file at ``uri``, or the newest one below it.

        Raises:
            NotFound: there is no model.
            ModelError: the model or its card is corrupt.
        """
        uri = resolve_model(uri)
        raw, card = read_verified(uri)
        layout = HeadLayout(card.table, card.bins)
        network = read_network(raw, layout, card.feature_shape, card.name) if card.numpy else None
        return cls(network or open_model(raw, uri), card)

    def predict(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs for features, in the table's order.

        Args:
            features: float32 ``(sounds, frames, bins)``.

        Returns:
            ``{"out_<name>": float32 (sounds, units)}``: probabilities for a choice, one unclipped number for a range.

        Raises:
            ModelError: the features have another shape.
        """
        outputs = self._outputs(features)
        return {
            output_name(p.name): outputs[:, self._layout.columns[p.name]]
            if isinstance(p, Choice) or not self._layout.bins
            else medians(outputs[:, self._layout.columns[p.name]], p)[:, None]
            for p in self.card.table.learned
        }

    def labels(self, features: np.ndarray, *, clip: bool = True) -> np.ndarray:
        """Return the predicted labels, float32 ``(sounds, learned)``.

        A choice is the index of its likeliest class. A range is the network's number, or the median of its histogram;
        ``likeliest_labels`` decides the pitches of the instrument's oscillators together.

        Args:
            features: float32 ``(sounds, frames, bins)``.
            clip: clip ranges to [0, 1]. The ranges of a foreign data set may lie elsewhere.

        Raises:
            ModelError: the features have another shape.
        """
        return self._labels(self._outputs(features), clip=clip)

    def _labels(self, outputs: np.ndarray, *, clip: bool = True) -> np.ndarray:
        learned = self.card.table.learned
        parts = [outputs[:, self._layout.columns[parameter.name]] for parameter in learned]
        if self._layout.bins:
            return likeliest_labels(self.card.table, parts)
        labels = np.empty((len(outputs), len(learned)), np.float32)
        for column, (parameter, part) in enumerate(zip(learned, parts, strict=True)):
            labels[:, column] = part.argmax(axis=1) if isinstance(parameter, Choice) else part[:, 0]
            if clip and isinstance(parameter, Range):
                np.clip(labels[:, column], 0.0, 1.0, out=labels[:, column])
        return labels

    def labels_and_distributions(self, features: np.ndarray) -> tuple[np.ndarray, list[PresetDistribution]]:
        """Return :meth:`labels` and the predicted distributions over presets, from one call of the network.

        A model that predicts a range as one number is certain of the number's bin.

        Args:
            features: float32 ``(sounds, frames, bins)``.

        Raises:
            ModelError: the features have another shape.
        """
        outputs = self._outputs(features)
        return self._labels(outputs), self._distributions(outputs)

    def _distributions(self, outputs: np.ndarray) -> list[PresetDistribution]:
        layout = HeadLayout(self.card.table, self.card.bins or CERTAIN_BINS)
        parts = [outputs[:, self._layout.columns[p.name]].astype(np.float64) for p in self.card.table.learned]
        if not self.card.bins:
            parts = [
                part if isinstance(p, Choice) else _certain(part[:, 0], p, layout.outputs(p))
                for p, part in zip(self.card.table.learned, parts, strict=True)
            ]
        return [PresetDistribution(self.card.table, tuple(row)) for row in zip(*parts, strict=True)]

    def _outputs(self, features: np.ndarray) -> np.ndarray:
        """Return the outputs of all heads, float32 ``(sounds, width)``."""
        features = np.asarray(features, np.float32)
        if features.ndim != 3 or features.shape[1:] != (self.frames, self.bins):
            raise ModelError(f"features have shape {features.shape}, expected (sounds, {self.frames}, {self.bins})")
        if len(features) < MIN_ROWS * 2:
            return self._network(features)
        size = min(MAX_ROWS, max(MIN_ROWS, -(-len(features) // _CORES)))
        blocks = [features[start : start + size] for start in range(0, len(features), size)]
        return np.concatenate(list(_threads().map(self._network, blocks)))


@cache
def _threads() -> ThreadPoolExecutor:
    """Return a pool with a thread for each core, because NumPy's matrix library is limited to one thread per call."""
    return ThreadPoolExecutor(_CORES, thread_name_prefix="blocks")


def _certain(positions: np.ndarray, parameter: Range, count: int) -> np.ndarray:
    """Return histograms ``(sounds, count)`` that are certain of the step or the bin of each position ``(sounds,)``."""
    bins = np.rint(positions * parameter.num_steps) if parameter.step else np.floor(positions * count)
    return np.asarray(np.eye(count)[np.clip(bins, 0, count - 1).astype(int)])
