"""Loss and metrics on the fused output, in TensorFlow operations.

Without histograms, the loss is the sum of the notebook's 38 Keras losses: categorical cross-entropy per choice, mean
absolute error per range. The loss of a histogram is its cross-entropy with a narrow bell curve around the label. All
classes share one gather and one softmax. Activations for prediction are in ``predictor.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from synthray.model.heads import HeadLayout
from synthray.synth.parameters import Choice, Range

_MASKED = -1e9
"""Logit of a class that a parameter does not have."""
UNHEARD = -np.inf
"""Label of a parameter that does not count, because it cannot be heard in the sound."""
LABEL_SPREAD = 0.02
"""Standard deviation of the bell that a histogram learns, in positions; as in SynthRL and Sound2Synth."""


class Scores(NamedTuple):
    """Scores per example, each float32 ``(examples,)``."""

    loss: tf.Tensor
    accuracy: tf.Tensor
    """Fraction of the choices that are predicted correctly."""
    error: tf.Tensor
    """Mean absolute error of the ranges."""


def score(outputs: tf.Tensor, labels: tf.Tensor, layout: HeadLayout) -> Scores:
    """Compare raw outputs with labels.

    Args:
        outputs: float32 ``(examples, width)``, logits for choices and histograms.
        labels: float32 ``(examples, learned)``, class indices for choices. ``UNHEARD`` leaves a parameter out.
        layout: the columns of each head.

    Returns:
        the scores of each example. A kind of parameter that the table lacks scores 0.
    """
    outputs = tf.cast(outputs, tf.float32)
    known = tf.not_equal(labels, UNHEARD)
    labels = tf.where(known, labels, 0.0)
    zeros = tf.zeros(tf.shape(outputs)[:1])
    loss, accuracy, error = zeros, zeros, zeros
    if len(layout.range_columns):
        columns = _label_columns(layout, layout.table.ranges)
        errors = tf.abs(tf.gather(outputs, layout.range_columns, axis=1) - tf.gather(labels, columns, axis=1))
        is_known = tf.gather(known, columns, axis=1)
        loss, error = loss + _sum(errors, is_known), _mean(errors, is_known)
    if layout.classified:
        columns = _label_columns(layout, layout.classified)
        targets, is_known = tf.gather(labels, columns, axis=1), tf.gather(known, columns, axis=1)
        logits = tf.where(layout.class_padding, _MASKED, tf.gather(outputs, layout.class_columns, axis=1))
        probabilities = _target_probabilities(targets, layout)
        loss += _sum(-tf.reduce_sum(probabilities * tf.nn.log_softmax(logits), axis=2), is_known)
        is_choice = np.array([isinstance(p, Choice) for p in layout.classified])
        correct = tf.equal(tf.argmax(logits, axis=2), tf.argmax(probabilities, axis=2))
        accuracy = _mean(tf.cast(correct, tf.float32), tf.logical_and(is_known, is_choice))
        if not is_choice.all():
            errors = tf.abs(_medians(tf.nn.softmax(logits), layout) - targets)
            error = _mean(errors, tf.logical_and(is_known, ~is_choice))
    return Scores(loss, accuracy, error)


def _sum(values: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    """Return the sum of the counted values of each row; ``(examples, parameters)`` to ``(examples,)``."""
    return tf.reduce_sum(tf.where(counted, values, 0.0), axis=1)


def _mean(values: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    """Return the mean of the counted values of each row, 0 if none counts."""
    return tf.math.divide_no_nan(_sum(values, counted), tf.reduce_sum(tf.cast(counted, tf.float32), axis=1))


def _label_columns(layout: HeadLayout, parameters: tuple[Choice | Range, ...]) -> list[int]:
    return [layout.table.label_index[p.name] for p in parameters]


def _target_probabilities(labels: tf.Tensor, layout: HeadLayout) -> tf.Tensor:
    """Return the target probabilities of the classes, float32 ``(examples, classified, classes)``.

    They form a bell curve around the label. For choices and steps, it is so narrow that only the label's own class has
    a probability.

    Args:
        labels: of the classified parameters, float32 ``(examples, classified)``. Positions beyond [0, 1] count as its
            ends.
        layout: the columns of each head.
    """
    spread = [_spread(parameter, layout) for parameter in layout.classified]
    highest = [parameter.num_outputs - 1 if isinstance(parameter, Choice) else 1 for parameter in layout.classified]
    labels = tf.clip_by_value(labels, 0.0, np.array(highest, np.float32))
    distance = (labels[:, :, None] - layout.class_labels) / np.array(spread, np.float32)[:, None]
    bell = tf.where(layout.class_padding, 0.0, tf.exp(-0.5 * distance**2))
    return bell / tf.reduce_sum(bell, axis=2, keepdims=True)


def _spread(parameter: Choice | Range, layout: HeadLayout) -> float:
    if isinstance(parameter, Choice) or parameter.step:
        return 0.1 / (1 if isinstance(parameter, Choice) else parameter.num_steps)
    return max(LABEL_SPREAD, 0.25 / layout.bins)  # so that each label is near enough to a bin's centre


def _medians(probabilities: tf.Tensor, layout: HeadLayout) -> tf.Tensor:
    """Return the median position of each classified parameter, float32 ``(examples, classified)``.

    It is computed as in saved models (``heads.py``). The results for choices have no meaning.
    """
    after = tf.cumsum(probabilities, axis=2)
    parts = tf.clip_by_value((0.5 - after + probabilities) / tf.maximum(probabilities, 1e-9), 0.0, 1.0)
    below = tf.cast(after < 0.5, tf.float32)
    steps = np.array([getattr(p, "num_steps", 0) for p in layout.classified], np.float32)
    counts = np.array([layout.outputs(p) for p in layout.classified], np.float32)
    position = tf.reduce_sum(tf.where(layout.class_padding, 0.0, parts), axis=2) / counts
    step = tf.reduce_sum(tf.where(layout.class_padding, 0.0, below), axis=2) / np.maximum(steps, 1)
    return tf.where(steps > 0, step, position)
