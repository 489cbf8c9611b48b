"""Loss and metrics on the fused output, in TensorFlow operations.

They equal the notebook's 38 Keras losses: categorical cross-entropy per choice, mean absolute error per range, summed.
A histogram has the cross-entropy with a narrow bell around the label. All classes share one gather and one softmax.
Activations for prediction are in ``predictor.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from synthray.model.heads import HeadLayout
from synthray.synth.parameters import Choice, Range

_MASKED = -1e9
"""Logit of a class that a parameter does not have."""
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
        labels: float32 ``(examples, learned)``, class indices for choices.
        layout: the columns of each head.

    Returns:
        the scores of each example. A kind of parameter that the table lacks scores 0.
    """
    outputs = tf.cast(outputs, tf.float32)
    losses, accuracies, errors = [], [], []
    if len(layout.range_columns):
        targets = tf.gather(labels, _label_columns(layout, layout.table.ranges), axis=1)
        errors = [tf.abs(tf.gather(outputs, layout.range_columns, axis=1) - targets)]
        losses += errors
    if layout.classified:
        logits = tf.where(layout.class_padding, _MASKED, tf.gather(outputs, layout.class_columns, axis=1))
        classified = tf.gather(labels, _label_columns(layout, layout.classified), axis=1)
        targets = _target_probabilities(classified, layout)
        losses.append(-tf.reduce_sum(targets * tf.nn.log_softmax(logits), axis=2))
        choices = [isinstance(p, Choice) for p in layout.classified]
        correct = tf.equal(tf.argmax(logits, axis=2), tf.argmax(targets, axis=2))
        accuracies = [tf.boolean_mask(tf.cast(correct, tf.float32), choices, axis=1)]
        if not all(choices):
            positions = _medians(tf.nn.softmax(logits), layout)
            errors = [tf.boolean_mask(tf.abs(positions - classified), np.logical_not(choices), axis=1)]
    zeros = tf.zeros(tf.shape(outputs)[:1])
    return Scores(
        tf.add_n([tf.reduce_sum(each, axis=1) for each in losses]),
        tf.reduce_mean(accuracies[0], axis=1) if layout.table.choices else zeros,
        tf.reduce_mean(errors[0], axis=1) if errors else zeros,
    )


def _label_columns(layout: HeadLayout, parameters: tuple[Choice | Range, ...]) -> list[int]:
    return [layout.table.label_index[p.name] for p in parameters]


def _target_probabilities(labels: tf.Tensor, layout: HeadLayout) -> tf.Tensor:
    """Return what the class probabilities shall become, float32 ``(examples, classified, classes)``.

    They are a bell around the label, so narrow for choices and steps that only their own class has a probability.

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

    It is computed as in saved models (``heads.py``). Those of choices have no meaning.
    """
    after = tf.cumsum(probabilities, axis=2)
    parts = tf.clip_by_value((0.5 - after + probabilities) / tf.maximum(probabilities, 1e-9), 0.0, 1.0)
    below = tf.cast(after < 0.5, tf.float32)
    steps = np.array([getattr(p, "num_steps", 0) for p in layout.classified], np.float32)
    counts = np.array([layout.outputs(p) for p in layout.classified], np.float32)
    position = tf.reduce_sum(tf.where(layout.class_padding, 0.0, parts), axis=2) / counts
    step = tf.reduce_sum(tf.where(layout.class_padding, 0.0, below), axis=2) / np.maximum(steps, 1)
    return tf.where(steps > 0, step, position)
