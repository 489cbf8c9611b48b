"""Networks by name: from features to the vector that the heads read.

Heads are in ``heads.py``, losses in ``losses.py``. To add a network, write its function, and add it to ``NETWORKS``
and to ``architectures.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from synthray.errors import ConfigError
from synthray.model.architectures import ARCHITECTURES
from synthray.model.heads import FUSED_NAME, INPUT_NAME, HeadLayout, output_layer, unfuse
from synthray.model.normalisation import normalised
from synthray.synth.parameters import ParameterTable

WIDTH = 256
"""Units of the notebook's layers."""

Trunk = Callable[[keras.KerasTensor, int], keras.KerasTensor]


def notebook(features: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Return a convolution over time and a dense layer, as in the notebook."""
    x = keras.layers.Conv1D(width, 3, activation="relu", name="conv1d")(features)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.layers.Dense(width, activation="relu", name="dense")(x)


def log(features: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Return the notebook's network on log magnitudes, scaled to about [-1, 1]."""
    return notebook(keras.ops.log(keras.ops.maximum(features, 0) + 1e-3) / 5 + 0.4, width)


def histogram(features: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Return wide dense layers on all frames, for heads that predict histograms.

    Each frame is first reduced by one shared layer, and compared with its neighbours by a convolution.
    """
    x = keras.layers.Dense(width, activation="gelu", name="frames")(features)
    x = keras.layers.Conv1D(width // 2, 3, padding="same", activation="gelu", name="neighbours")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for number in (1, 2, 3):
        x = keras.layers.Dense(4 * width, activation="gelu", name=f"dense_{number}")(x)
        x = keras.layers.LayerNormalization(name=f"normalise_{number}")(x)
    return x


NETWORKS: dict[str, Trunk] = {"notebook": notebook, "log": log, "histogram": histogram}
"""Networks by the names in ``ARCHITECTURES``."""


def check_network(name: str, feature_shape: tuple[int, int]) -> None:
    """Raise ConfigError for features that a network cannot take."""
    if feature_shape[0] < (least := ARCHITECTURES[name].least_frames):
        raise ConfigError(
            f"network {name!r} convolves over {least} frames; the data set has {feature_shape[0]}. "
            "Choose another --network."
        )


def build_fused(
    name: str,
    feature_shape: tuple[int, int],
    layout: HeadLayout,
    seed: int,
    width: int = WIDTH,
    precision: str = "float32",
    *,
    normalise: bool = False,
) -> keras.Model:
    """Build the network for training, with fused heads.

    Args:
        name: a key of ``NETWORKS``.
        feature_shape: ``(frames, bins)``.
        layout: the columns of each head.
        seed: of the initial weights. Sets Keras's global seed.
        width: units of the network's layers.
        precision: Keras dtype policy of all layers but normalisation and heads, which are float32.
        normalise: normalise the features first, see ``normalisation.py``.

    Returns:
        a model from features ``(examples, frames, bins)`` to raw outputs, float32 ``(examples, columns)``.
    """
    keras.utils.set_random_seed(keras_seed(seed))
    features = keras.Input(feature_shape, name=INPUT_NAME)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        vector = NETWORKS[name](normalised(features) if normalise else features, width)
    finally:
        keras.config.set_dtype_policy(policy)
    heads = keras.layers.Dense(layout.width, name=FUSED_NAME, dtype="float32")
    model = keras.Model(features, heads(vector), name=name)
    heads.kernel.assign(layout.initial_kernel(vector.shape[-1], seed))
    return model


def build_named(
    name: str,
    feature_shape: tuple[int, int],
    table: ParameterTable,
    width: int = WIDTH,
    weights: list[np.ndarray] | None = None,
    *,
    normalise: bool = False,
) -> keras.Model:
    """Build the network as it is saved, with a layer ``out_<name>`` per parameter.

    It is compiled with the losses and metrics of the notebook.

    Args:
        name: a key of ``NETWORKS``.
        feature_shape: ``(frames, bins)``.
        table: the parameters to predict.
        width: units of the network's layers.
        weights: of a fused network (``model.get_weights()``). The default is the initial weights of seed 0.
        normalise: as for ``build_fused``.
    """
    layout = HeadLayout(table, ARCHITECTURES[name].bins)
    fused = build_fused(name, feature_shape, layout, seed=0, width=width, normalise=normalise)
    if weights is not None:
        fused.set_weights(weights)
    model = unfuse(fused, layout)
    choices, ranges = ([output_layer(p.name) for p in kind] for kind in (table.choices, table.ranges))
    losses = dict.fromkeys(choices, "categorical_crossentropy") | dict.fromkeys(ranges, "mean_absolute_error")
    metrics = dict.fromkeys(choices, "categorical_accuracy")
    model.compile(optimizer=keras.optimizers.SGD(), loss=losses, metrics=metrics)
    return model


def keras_seed(seed: int) -> int:
    """Return a seed for Keras, which takes 32 bits; shorter ones stay as they are."""
    return seed if seed < 2**32 else int(np.random.SeedSequence(seed).generate_state(1)[0])
