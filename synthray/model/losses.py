"""Loss and metrics on the fused output, in TensorFlow operations.

They equal the notebook's 38 Keras losses: categorical cross-entropy per choice, mean absolute error per range, summed.
All choices share one gather and one softmax. Activations for prediction are in ``predictor.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from synthray.model.heads import HeadLayout

_MASKED = -1e9
"""Logit of a class that a choice does not have."""


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
        outputs: float32 ``(examples, width)``, logits for choices.
        labels: float32 ``(examples, learned)``, class indices for choices.
        layout: the columns of each head.

    Returns:
        the scores of each example. A kind of parameter that the table lacks scores 0.
    """
    outputs = tf.cast(outputs, tf.float32)
    zeros = tf.zeros(tf.shape(outputs)[:1])
    loss, accuracy, error = zeros, zeros, zeros
    table = layout.table
    if table.ranges:
        targets = tf.gather(labels, [table.label_index[p.name] for p in table.ranges], axis=1)
        errors = tf.abs(tf.gather(outputs, layout.range_columns, axis=1) - targets)
        loss, error = loss + tf.reduce_sum(errors, axis=1), tf.reduce_mean(errors, axis=1)
    if table.choices:
        logits = tf.where(layout.choice_padding, _MASKED, tf.gather(outputs, layout.choice_columns, axis=1))
        classes = tf.cast(tf.gather(labels, [table.label_index[p.name] for p in table.choices], axis=1), tf.int32)
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
        correct = tf.equal(tf.argmax(logits, axis=2, output_type=tf.int32), classes)
        loss, accuracy = loss + tf.reduce_sum(entropy, axis=1), tf.reduce_mean(tf.cast(correct, tf.float32), axis=1)
    return Scores(loss, accuracy, error)
