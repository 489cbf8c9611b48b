"""The saved Keras model, traced once and called with a NumPy array. The peers that run Keras share it."""

import os

import keras
import numpy as np
import tensorflow as tf

SHAPE = (20, 551)
MODEL_VARIABLE = "SERVED_MODEL"
"""Environment variable with the path of the ``.keras`` file."""


class KerasModel:
    """A Keras model from float32 ``(sounds, 20, 551)`` to one dictionary of outputs a sound."""

    def __init__(self) -> None:
        model = keras.models.load_model(os.environ[MODEL_VARIABLE], compile=False)
        self._names = model.output_names
        signature = [tf.TensorSpec((None, *SHAPE), tf.float32)]
        self._function = tf.function(lambda features: model(features, training=False), input_signature=signature)
        self.predict(np.zeros((1, *SHAPE), np.float32))

    def predict(self, features: np.ndarray) -> list[dict[str, list[float]]]:
        """Return ``{output: numbers}`` of each sound."""
        outputs = [output.numpy().tolist() for output in self._function(tf.constant(features))]
        return [dict(zip(self._names, row, strict=True)) for row in zip(*outputs, strict=True)]


def decode(body: bytes) -> np.ndarray:
    """Return the features of a body of raw float32 numbers."""
    return np.frombuffer(body, np.float32).reshape(-1, *SHAPE)
