"""Predictions of a saved model: from features to outputs and labels.

Sounds and presets are in ``synthray.match``, HTTP is in ``synthray.serve``.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from synthray.errors import ModelError
from synthray.model.distribution import PresetDistribution, medians
from synthray.model.heads import INPUT_NAME, HeadLayout, can_fuse, check_outputs, fuse, output_name
from synthray.model.saved import ModelCard, load_model
from synthray.synth.parameters import Choice, Range

MAX_ROWS = 1024
"""Rows per call of the network, to bound its memory."""
CERTAIN_BINS = 32
"""Bins of the histogram that stands for a number."""


class Predictor:
    """One model and its card, safe to call from several threads.

    Raises:
        ModelError: the model's input or outputs differ from those in its card.
    """

    def __init__(self, model: keras.Model, card: ModelCard) -> None:
        self.card = card
        self.frames, self.bins = card.feature_shape
        expected = (None, self.frames, self.bins)
        if len(model.inputs) != 1 or tuple(model.inputs[0].shape) != expected:
            shapes = [tuple(tensor.shape) for tensor in model.inputs]
            raise ModelError(f"{card.name}: the model's inputs are {shapes}, its card says {expected}")
        self._layout = HeadLayout(card.table, card.bins)
        check_outputs(model, self._layout)
        # With an open first axis one trace serves every batch size, so no request waits for tracing.
        signature = [tf.TensorSpec(expected, tf.float32, name=INPUT_NAME)]
        self._function = tf.function(_output_function(model, self._layout), input_signature=signature)
        self._compiled = self._function.get_concrete_function()

    @classmethod
    def load(cls, uri: str) -> Predictor:
        """Load the ``.keras`` file at ``uri``, or the newest one below it, and warm it up.

        Raises:
            NotFound: there is no model.
            ModelError: the model or its card is corrupt.
        """
        predictor = cls(*load_model(uri))
        for rows in (1, 2):  # each has first-time costs of its own
            predictor.predict(np.zeros((rows, predictor.frames, predictor.bins), np.float32))
        return predictor

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

        A choice is the index of its most likely class.

        Args:
            features: float32 ``(sounds, frames, bins)``.
            clip: clip ranges to [0, 1]. The ranges of a foreign data set may lie elsewhere.

        Raises:
            ModelError: the features have another shape.
        """
        outputs = self._outputs(features)
        labels = np.empty((len(features), len(self.card.table.learned)), np.float32)
        for column, parameter in enumerate(self.card.table.learned):
            output = outputs[:, self._layout.columns[parameter.name]]
            if isinstance(parameter, Choice):
                labels[:, column] = output.argmax(axis=1)
            else:
                labels[:, column] = medians(output, parameter) if self._layout.bins else output[:, 0]
            if clip and isinstance(parameter, Range):
                np.clip(labels[:, column], 0.0, 1.0, out=labels[:, column])
        return labels

    def distributions(self, features: np.ndarray) -> list[PresetDistribution]:
        """Return the distribution over presets that the model predicts for each sound.

        A model that predicts a range as one number is certain of the number's bin.

        Args:
            features: float32 ``(sounds, frames, bins)``.

        Raises:
            ModelError: the features have another shape.
        """
        layout = HeadLayout(self.card.table, self.card.bins or CERTAIN_BINS)
        outputs = self._outputs(features)
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
        blocks = np.array_split(features, max(1, -(-len(features) // MAX_ROWS)))
        return np.concatenate([self._compiled(tf.constant(block)).numpy() for block in blocks])


def _certain(positions: np.ndarray, parameter: Range, count: int) -> np.ndarray:
    """Return histograms ``(sounds, count)`` that are certain of the step or the bin of each position ``(sounds,)``."""
    bins = np.rint(positions * parameter.num_steps) if parameter.step else np.floor(positions * count)
    return np.asarray(np.eye(count)[np.clip(bins, 0, count - 1).astype(int)])


def predict_together(requests: list[tuple[Predictor, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """Answer several requests with one call per model, in the order of the requests."""
    answers: list[dict[str, np.ndarray]] = [{}] * len(requests)
    by_model: dict[int, list[int]] = {}
    for number, (predictor, _) in enumerate(requests):
        by_model.setdefault(id(predictor), []).append(number)
    for numbers in by_model.values():
        features = [requests[number][1] for number in numbers]
        outputs = requests[numbers[0]][0].predict(np.concatenate(features))
        ends = np.cumsum([len(rows) for rows in features])
        for number, rows, end in zip(numbers, features, ends, strict=True):
            answers[number] = {name: values[end - len(rows) : end] for name, values in outputs.items()}
    return answers


def _output_function(model: keras.Model, layout: HeadLayout) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a function from features to the outputs of all heads.

    It maps float32 ``(sounds, frames, bins)`` to float32 ``(sounds, width)``.
    A model whose heads cannot be fused, such as one with sigmoid ranges, runs its own layers.
    """
    if can_fuse(model, layout):
        fused = fuse(model, layout)
        return lambda features: _activate(fused(features, training=False), layout)
    names = [layout.head_name(parameter) for parameter in layout.table.learned]

    def concatenate(features: tf.Tensor) -> tf.Tensor:
        outputs = dict(zip(model.output_names, keras.tree.flatten(model(features, training=False)), strict=True))
        return tf.concat([tf.cast(outputs[name], tf.float32) for name in names], axis=1)

    return concatenate


def _activate(outputs: tf.Tensor, layout: HeadLayout) -> tf.Tensor:
    """Turn logits of classes into probabilities, ``(sounds, width)`` to the same."""
    if not layout.classified:
        return outputs
    # Minus infinity instead of the loss's -1e9, which lower logits would outweigh.
    logits = tf.where(layout.class_padding, -np.inf, tf.gather(outputs, layout.class_columns, axis=1))
    probabilities = tf.reshape(tf.nn.softmax(logits), (-1, layout.class_padding.size))
    return tf.gather(tf.concat([outputs, probabilities], axis=1), layout.activated_columns, axis=1)
