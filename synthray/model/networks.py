"""Networks by name: from features to the vector that the heads read."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from synthray.errors import ConfigError
from synthray.model.heads import INPUT_NAME, HeadLayout, output_name
from synthray.synth.parameters import Choice, ParameterTable

HEADS_NAME = "heads"
WIDTH = 256
"""Units of the notebook's layers."""

Trunk = Callable[[keras.KerasTensor, int], keras.KerasTensor]


def notebook(features: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """The notebook's network: a convolution over time of 256 filters, and 256 units on all of it; or of ``width``."""
    x = keras.layers.Conv1D(width, 3, activation="relu", name="conv1d")(features)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.layers.Dense(width, activation="relu", name="dense")(x)


def log(features: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """The same layers on the logarithms of the magnitudes, as ears hear: from some -1 for silence to some 1."""
    return notebook(keras.ops.log(keras.ops.maximum(features, 0) + 1e-3) / 5 + 0.4, width)


NETWORKS: dict[str, Trunk] = {"notebook": notebook, "log": log}


def check_network(name: str, feature_shape: tuple[int, int]) -> None:
    """Raises ConfigError for an unknown name, or for features that the network cannot take."""
    if name not in NETWORKS:
        raise ConfigError(f"model is {name!r}; it can be {', '.join(NETWORKS)}")
    if feature_shape[0] < 3:
        raise ConfigError(f"the model {name!r} convolves over 3 frames; the data set has {feature_shape[0]}")


def build_fused(
    name: str,
    feature_shape: tuple[int, int],
    layout: HeadLayout,
    seed: int,
    width: int = WIDTH,
    precision: str = "float32",
) -> keras.Model:
    """The network for training: ``(examples, frames, bins)`` to the fused heads' raw outputs ``(examples, columns)``.

    width: units of its layers. precision: a Keras dtype policy for all but the heads, whose outputs are float32.
    """
    keras.utils.set_random_seed(seed % 2**32)  # more bits it does not take
    features = keras.Input(feature_shape, name=INPUT_NAME)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        vector = NETWORKS[name](features, width)
    finally:
        keras.config.set_dtype_policy(before)
    kernel = layout.initial_kernel(vector.shape[-1], seed)
    heads = keras.layers.Dense(
        layout.width,
        kernel_initializer=lambda shape, dtype=None: keras.ops.convert_to_tensor(kernel, dtype),  # noqa: ARG005
        name=HEADS_NAME,
        dtype="float32",
    )
    return keras.Model(features, heads(vector), name=name)


def build_named(name: str, feature_shape: tuple[int, int], table: ParameterTable, width: int = WIDTH) -> keras.Model:
    """The network as it is saved: a layer ``out_<name>`` for each learned parameter, compiled as in the notebook."""
    features = keras.Input(feature_shape, name=INPUT_NAME)
    vector = NETWORKS[name](features, width)
    outputs, losses, metrics = [], {}, {}
    for parameter in table.learned:
        output = output_name(parameter.name)
        if isinstance(parameter, Choice):
            activation, losses[output] = "softmax", "categorical_crossentropy"
            metrics[output] = "categorical_accuracy"
        else:
            activation, losses[output] = None, "mean_absolute_error"
        outputs.append(keras.layers.Dense(parameter.num_outputs, activation=activation, name=output)(vector))
    model = keras.Model(features, outputs, name=name)
    model.compile(optimizer=keras.optimizers.SGD(), loss=losses, metrics=metrics)
    return model


def unfuse(
    weights: list[np.ndarray], name: str, feature_shape: tuple[int, int], table: ParameterTable, width: int = WIDTH
) -> keras.Model:
    """The model to be saved, from the weights of a fused one (``model.get_weights()``)."""
    layout = HeadLayout(table)
    *trunk, kernel, bias = weights
    for parameter in table.learned:
        columns = layout.columns[parameter.name]
        trunk += [kernel[:, columns], bias[columns]]
    model = build_named(name, feature_shape, table, width)
    model.set_weights(trunk)
    return model
