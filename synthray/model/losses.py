"""Loss and metrics on the fused output, in TensorFlow operations.

The same numbers as the notebook's 38 Keras losses give: categorical cross-entropy for each choice, mean absolute error
for each range, all added up. One gather and one softmax for all choices instead of one each.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from synthray.model.heads import HeadLayout


class Scores(NamedTuple):
    """Per example, float32 ``(examples,)``: loss, share of the choices that are right, mean absolute error."""

    loss: tf.Tensor
    accuracy: tf.Tensor
    error: tf.Tensor


def score(outputs: tf.Tensor, labels: tf.Tensor, layout: HeadLayout) -> Scores:
    """Compare raw outputs with labels.

    Args:
        outputs: float32 ``(examples, width)``, logits for choices.
        labels: float32 ``(examples, learned)``, class indices for choices.
        layout: where each head lies.

    Returns:
        the scores of each example; a kind of parameter that the table lacks scores 0.
    """
    outputs = tf.cast(outputs, tf.float32)
    nothing = tf.zeros(tf.shape(outputs)[:1])
    loss, accuracy, error = nothing, nothing, nothing
    if len(layout.range_columns):
        wanted = tf.gather(labels, layout.range_labels, axis=1)
        errors = tf.abs(tf.gather(outputs, layout.range_columns, axis=1) - wanted)
        loss, error = loss + tf.reduce_sum(errors, axis=1), tf.reduce_mean(errors, axis=1)
    if len(layout.choice_columns):
        logits = tf.gather(outputs, layout.choice_columns, axis=1) + layout.choice_mask
        classes = tf.cast(tf.gather(labels, layout.choice_labels, axis=1), tf.int32)
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
        right = tf.equal(tf.argmax(logits, axis=2, output_type=tf.int32), classes)
        loss, accuracy = loss + tf.reduce_sum(entropy, axis=1), tf.reduce_mean(tf.cast(right, tf.float32), axis=1)
    return Scores(loss, accuracy, error)
