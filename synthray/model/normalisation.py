"""Normalisation of features of any scale and sign, as frozen layers of plain Keras in front of a network.

Each bin is centred, divided by its spread, compressed by the inverse hyperbolic sine, and standardised. The statistics
are weights of the layers, so that checkpoints and saved models hold them. Choosing the sample is not here; see
``synthray.data.sample``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import keras

SPREAD, STANDARD = "normalise_spread", "normalise_standard"
"""Names of the two layers with statistics."""
LIMIT = 10.0
"""Largest magnitude of a normalised feature, in standard deviations."""
# The reciprocal of a spread must be a normal float32.
_SMALLEST_SPREAD, _LARGEST_SPREAD = 1e-37, 1e37

Weights = list[npt.NDArray[np.float32]]


def normalised(features: keras.KerasTensor) -> keras.KerasTensor:
    """Return normalised features ``(examples, frames, bins)``; ``set_statistics`` sets the statistics."""
    import keras

    # A frozen BatchNormalization uses its stored statistics. Unlike Normalization, it holds them as weights.
    fixed = {"axis": -1, "epsilon": 0.0, "center": False, "trainable": False, "dtype": "float32"}
    x = keras.layers.BatchNormalization(name=SPREAD, **fixed)(features)
    x = keras.layers.BatchNormalization(name=STANDARD, scale=False, **fixed)(keras.ops.arcsinh(x))
    # A value that the sample lacks can be any number of standard deviations away.
    return keras.ops.clip(x, -LIMIT, LIMIT)


def set_statistics(model: keras.Model, sample: npt.NDArray[np.floating]) -> None:
    """Set the statistics of a model that contains the layers of ``normalised``.

    Args:
        model: the model.
        sample: finite features ``(examples, frames, bins)``, at least one example.
    """
    spread, standard = statistics(sample)
    model.get_layer(SPREAD).set_weights(spread)
    model.get_layer(STANDARD).set_weights(standard)


def statistics(sample: npt.NDArray[np.floating]) -> tuple[Weights, Weights]:
    """Return the weights of the two layers.

    Centre and spread are medians, so that a few huge outliers do not hide all other values. A constant bin becomes 0.

    Args:
        sample: as for ``set_statistics``.

    Returns:
        for the first layer, each bin's gain, centre and 1; for the second, each bin's mean and variance after the
        compression.
    """
    by_bin = np.ascontiguousarray(sample.reshape(-1, sample.shape[-1]).T)
    moments = np.array([_moments(values.astype(np.float64)) for values in by_bin])
    gain, centre, mean, variance = moments.astype(np.float32).T
    # The spread is stored as a gain, not as a variance, because its square may be too small or too large for float32.
    return [gain, centre, np.ones_like(gain)], [mean, variance]


def _moments(values: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Return one bin's gain (1 / spread) and centre, and the mean and variance of its values after compression."""
    centre = float(np.median(values))
    distances = np.abs(values - centre)
    distances = distances[distances > 0]
    if not len(distances):
        return 0.0, centre, 0.0, 1.0
    spread = float(np.clip(np.median(distances), _SMALLEST_SPREAD, _LARGEST_SPREAD))
    compressed = np.arcsinh((values - centre) / spread)
    return 1 / spread, centre, float(compressed.mean()), float(compressed.var()) or 1.0
