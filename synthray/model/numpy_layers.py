"""Layers and operations of a saved Keras network, as functions of NumPy arrays.

Each one is listed in ``LAYERS``. The network that they make is in ``numpy_network.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float32]
Layer = Callable[[Floats], Floats]
"""A function from float32 ``(sounds, …)`` to float32 ``(sounds, …)``. It does not modify its input."""
Activation = Callable[[Floats], Floats]
"""A function of the numbers that a layer has just computed. It may overwrite them."""


class NotSupported(Exception):
    """A layer, or a setting of it, that only Keras computes."""


def relu(x: Floats) -> Floats:
    """Replace negative numbers by 0, in place."""
    return np.maximum(x, 0, out=x)


def gelu(x: Floats) -> Floats:
    """Return ``x`` times the normal distribution function of ``x`` (Hendrycks and Gimpel 2016)."""
    return np.asarray(x * special.ndtr(x), np.float32)


ACTIVATIONS: dict[str, Activation] = {"linear": lambda x: x, "relu": relu, "gelu": gelu}

# Settings that prediction does not depend on.
_IGNORED = {
    "name",
    "trainable",
    "kernel_initializer",
    "bias_initializer",
    "kernel_regularizer",
    "bias_regularizer",
    "activity_regularizer",
    "kernel_constraint",
    "bias_constraint",
    "beta_initializer",
    "gamma_initializer",
    "moving_mean_initializer",
    "moving_variance_initializer",
    "beta_regularizer",
    "gamma_regularizer",
    "beta_constraint",
    "gamma_constraint",
    "momentum",
    "synchronized",
    "renorm_clipping",
    "renorm_momentum",
}


def require(config: dict[str, Any], used: set[str], fixed: dict[str, Any]) -> None:
    """Raise NotSupported unless each setting of a layer is known.

    Args:
        config: the settings in the saved file.
        used: settings that the caller reads.
        fixed: the only accepted value of other settings.
    """
    for key, value in config.items():
        if key == "dtype":
            policy = value.get("config") if isinstance(value, dict) else {"name": value}
            is_known = policy == {"name": "float32"}
        else:
            is_known = key in _IGNORED or key in used or (key in fixed and fixed[key] == value)
        if not is_known:
            raise NotSupported(f"{key}={value!r}")


def dense_weights(config: dict[str, Any], weights: list[Floats], inputs: int) -> tuple[Floats, Floats]:
    """Return the kernel ``(inputs, units)`` and the bias ``(units,)`` of a ``Dense`` layer, after checking them."""
    require(config, {"units", "activation", "use_bias"}, {"quantization_config": None})
    return _kernel_and_bias(config, weights, (inputs, config["units"]))


def _kernel_and_bias(config: dict[str, Any], weights: list[Floats], shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    shapes = [shape, shape[-1:]] if config["use_bias"] else [shape]
    if [array.shape for array in weights] != shapes or any(array.dtype != np.float32 for array in weights):
        raise NotSupported(f"weights of the shapes {[array.shape for array in weights]}, not {shapes}")
    return weights[0], weights[1] if config["use_bias"] else np.zeros(shape[-1:], np.float32)


def _activation(config: dict[str, Any]) -> Activation:
    name = config["activation"]
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise NotSupported(f"activation={name!r}")
    return ACTIVATIONS[name]


def _dense(config: dict[str, Any], weights: list[Floats], shape: tuple[int, ...]) -> Layer:
    kernel, bias = dense_weights(config, weights, shape[-1])
    activation = _activation(config)

    def dense(x: Floats) -> Floats:
        y = x.reshape(-1, len(kernel)) @ kernel  # one product; NumPy multiplies each sound of a 3-D array by itself
        y += bias
        return activation(y).reshape(*x.shape[:-1], -1)

    return dense


def _conv1d(config: dict[str, Any], weights: list[Floats], shape: tuple[int, ...]) -> Layer:
    fixed = {"strides": [1], "dilation_rate": [1], "groups": 1, "data_format": "channels_last"}
    require(config, {"filters", "kernel_size", "padding", "activation", "use_bias"}, fixed)
    [size], (frames, inputs), filters = config["kernel_size"], shape, config["filters"]
    kernel, bias = _kernel_and_bias(config, weights, (size, inputs, filters))
    activation = _activation(config)
    if config["padding"] not in ("same", "valid"):
        raise NotSupported(f"padding={config['padding']!r}")
    first = -((size - 1) // 2) if config["padding"] == "same" else 0  # input frame of output frame 0
    results = frames if config["padding"] == "same" else frames - size + 1
    flat = np.ascontiguousarray(kernel.transpose(1, 0, 2)).reshape(inputs, size * filters)

    def conv1d(x: Floats) -> Floats:
        parts = (x.reshape(-1, inputs) @ flat).reshape(-1, frames, size, filters)
        y = np.empty((len(x), results, filters), np.float32)
        y[:] = bias
        for tap in range(size):
            begin = first + tap  # frame that this tap adds to result 0
            low, high = max(0, -begin), min(results, frames - begin)
            y[:, low:high] += parts[:, low + begin : high + begin, tap]
        return activation(y)

    return conv1d


def _flatten(config: dict[str, Any], _weights: list[Floats], _shape: tuple[int, ...]) -> Layer:
    require(config, set(), {"data_format": "channels_last"})
    return lambda x: x.reshape(len(x), -1)


def _layer_normalization(config: dict[str, Any], weights: list[Floats], shape: tuple[int, ...]) -> Layer:
    require(config, {"epsilon"}, {"axis": [-1], "center": True, "scale": True, "rms_scaling": False})
    if [array.shape for array in weights] != [shape[-1:]] * 2:
        raise NotSupported(f"weights of the shapes {[array.shape for array in weights]}, not twice {shape[-1:]}")
    scale, centre = weights
    epsilon = np.float32(config["epsilon"])

    def layer_normalization(x: Floats) -> Floats:
        y: Floats = x - x.mean(axis=-1, keepdims=True)
        y *= scale / np.sqrt(np.square(y).mean(axis=-1, keepdims=True) + epsilon)
        y += centre
        return y

    return layer_normalization


def _with_constant(function: Callable[[Floats, np.float32], Floats]) -> Callable[..., Layer]:
    """Return an operation of the input and one constant."""

    def operation(config: dict[str, Any], _weights: list[Floats], _shape: tuple[int, ...], constant: float) -> Layer:
        require(config, set(), {})
        value = np.float32(constant)
        return lambda x: function(x, value)

    return operation


def _log(config: dict[str, Any], _weights: list[Floats], _shape: tuple[int, ...]) -> Layer:
    require(config, set(), {})
    return np.log


def _batch_normalization(config: dict[str, Any], weights: list[Floats], shape: tuple[int, ...]) -> Layer:
    require(config, {"epsilon", "scale", "center"}, {"axis": -1, "renorm": False})
    rest = list(weights)
    gain = rest.pop(0) if config["scale"] else np.float32(1)
    bias = rest.pop(0) if config["center"] else np.float32(0)
    mean, variance = rest
    if any(np.shape(each) != shape[-1:] for each in weights):
        raise NotSupported(f"statistics of shape {mean.shape} for {shape[-1]} bins")
    factor = np.float32(1) / np.sqrt(variance + np.float32(config["epsilon"])) * gain
    offset = bias - mean * factor  # in the order of Keras, to get the same rounding errors
    return lambda x: x * factor + offset


def _arcsinh(config: dict[str, Any], _weights: list[Floats], _shape: tuple[int, ...]) -> Layer:
    require(config, set(), {})
    return np.arcsinh


def _clip(config: dict[str, Any], _weights: list[Floats], _shape: tuple[int, ...]) -> Layer:
    require(config, {"x_min", "x_max"}, {})
    low, high = np.float32(config["x_min"]), np.float32(config["x_max"])
    return lambda x: np.clip(x, low, high)


LAYERS: dict[tuple[str, str], Callable[..., Layer]] = {
    ("keras.layers", "Dense"): _dense,
    ("keras.layers", "Conv1D"): _conv1d,
    ("keras.layers", "Flatten"): _flatten,
    ("keras.layers", "LayerNormalization"): _layer_normalization,
    ("keras.src.ops.numpy", "Add"): _with_constant(np.add),
    ("keras.src.ops.numpy", "Maximum"): _with_constant(np.maximum),
    ("keras.src.ops.numpy", "TrueDivide"): _with_constant(np.true_divide),
    ("keras.src.ops.numpy", "Log"): _log,
    ("keras.layers", "BatchNormalization"): _batch_normalization,
    ("keras.src.ops.numpy", "Arcsinh"): _arcsinh,
    ("keras.src.ops.numpy", "Clip"): _clip,
}
"""Functions by the module and class of a saved layer.

They take the layer's settings, weights, the shape of its input without the sounds, and the constants of its call.
"""
