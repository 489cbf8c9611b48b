"""A network that Keras computes, because ``numpy_network.py`` does not know its layers. It imports TensorFlow."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from synthray.errors import ModelError
from synthray.model.heads import INPUT_NAME, HeadLayout, check_outputs


class KerasNetwork:
    """A Keras model with one input, traced once. Threads may share it.

    Raises:
        ModelError: the model's input or outputs differ from those in its card.
    """

    def __init__(self, model: keras.Model, layout: HeadLayout, feature_shape: tuple[int, int], name: str) -> None:
        expected = (None, *feature_shape)
        if len(model.inputs) != 1 or tuple(model.inputs[0].shape) != expected:
            shapes = [tuple(tensor.shape) for tensor in model.inputs]
            raise ModelError(f"{name}: the model's inputs are {shapes}, its card says {expected}")
        check_outputs(model, layout)
        heads = [layout.head_name(parameter) for parameter in layout.table.learned]

        def outputs(features: tf.Tensor) -> tf.Tensor:
            named = dict(zip(model.output_names, keras.tree.flatten(model(features, training=False)), strict=True))
            return tf.concat([tf.cast(named[head], tf.float32) for head in heads], axis=1)

        # With an open first axis one trace serves every batch size, so no request waits for tracing.
        self._function = tf.function(outputs, input_signature=[tf.TensorSpec(expected, tf.float32, name=INPUT_NAME)])
        self._compiled = self._function.get_concrete_function()
        for sounds in (1, 2):  # each has first-time costs of its own
            self(np.zeros((sounds, *feature_shape), np.float32))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the outputs of all heads, float32 ``(sounds, width)``, for ``(sounds, frames, bins)``."""
        return np.asarray(self._compiled(tf.constant(features)).numpy())
