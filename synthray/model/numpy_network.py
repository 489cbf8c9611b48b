"""A saved network in NumPy, so that predictions need neither TensorFlow nor Keras.

It computes only the networks that ``networks.py`` builds: a chain of the layers in ``numpy_layers.py``, with ``Dense``
heads on the last one. Keras computes all other networks (``keras_network.py``).
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthray.model.heads import HeadLayout, output_layer
from synthray.model.numpy_layers import (
    LAYERS,
    Floats,
    Layer,
    NotSupported,
    dense_weights,
    require,
)
from synthray.synth.parameters import Choice, Range

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

CHECKED_SOUNDS = 4
"""Random sounds on which a network is compared with Keras when it is saved."""
TOLERANCE = 1e-3
"""Largest absolute and relative difference from the outputs of Keras."""
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"


@dataclass(frozen=True)
class NumpyNetwork:
    """A network whose heads are one matrix product. Threads may share it."""

    layers: tuple[Layer, ...]
    """From features to the vector that the heads read."""
    kernel: Floats
    """Kernel of all heads, float32 ``(units, width)``."""
    bias: Floats
    """float32 ``(width,)``."""
    layout: HeadLayout

    def __call__(self, features: Floats) -> Floats:
        """Return the outputs of all heads, float32 ``(sounds, width)``, for ``(sounds, frames, bins)``."""
        return self.outputs(self.logits(self.vectors(features)))

    def vectors(self, features: Floats) -> Floats:
        """Return the inputs of the heads, float32 ``(sounds, units)``, for features ``(sounds, frames, bins)``."""
        for layer in self.layers:
            features = layer(features)
        return features

    def logits(self, vectors: Floats) -> Floats:
        """Return the outputs of all heads before the softmax of classes, float32 ``(sounds, width)``."""
        logits = vectors @ self.kernel
        logits += self.bias
        return logits

    def outputs(self, logits: Floats) -> Floats:
        """Turn the logits of classes into probabilities, in place, and return all outputs."""
        if self.layout.classified:
            _softmax(logits, self.layout)
        return logits


def _softmax(outputs: Floats, layout: HeadLayout) -> None:
    """Turn logits of classes into probabilities, in place."""
    classes = ~layout.class_padding
    # Minus infinity, because a logit can be lower than the -1e9 that the loss uses.
    values = np.where(classes, outputs[:, layout.class_columns], np.float32(-np.inf))
    values -= values.max(axis=2, keepdims=True)
    np.exp(values, out=values)
    values /= values.sum(axis=2, keepdims=True)
    outputs[:, layout.class_columns[classes]] = values[:, classes]


def read_network(
    raw: bytes, layout: HeadLayout, feature_shape: tuple[int, int], name: str = "the model"
) -> NumpyNetwork | None:
    """Read the network in a ``.keras`` file, or log the reason and return None to leave it to Keras.

    Keras also reports why a file is corrupt or does not fit its card.

    Args:
        raw: the file.
        layout: the columns of each head, by the model's card.
        feature_shape: ``(frames, bins)``, by the card.
        name: of the model, for the log.

    Raises:
        ImportError: the library that reads the weights is not installed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as file:
            config, weights = json.loads(file.read(_CONFIG)), _read_weights(file.read(_WEIGHTS))
        network = _build(config, weights, layout, feature_shape)
        network(np.zeros((1, *feature_shape), np.float32))  # fails if the shapes in the file are wrong
        return network
    except ImportError:
        raise
    except Exception as error:  # a file can be corrupt in any way
        logger.info("%s: Keras computes it (%s: %s)", name, type(error).__name__, error)
        return None


def agrees_with_keras(
    network: NumpyNetwork, model: keras.Model, layout: HeadLayout, feature_shape: tuple[int, int]
) -> bool:
    """Return whether a network and its original in Keras give the same outputs, for silence and random features."""
    import keras

    random = np.random.default_rng(0).random((CHECKED_SOUNDS, *feature_shape), np.float32)
    features = np.concatenate([np.zeros_like(random[:1]), random])
    named = dict(zip(model.output_names, keras.tree.flatten(model(features, training=False)), strict=True))
    heads = [keras.ops.convert_to_numpy(named[layout.head_name(parameter)]) for parameter in layout.table.learned]
    return np.allclose(network(features), np.concatenate(heads, axis=1), rtol=TOLERANCE, atol=TOLERANCE)


def _read_weights(raw: bytes) -> dict[str, list[Floats]]:
    """Return the weights of each layer by its name."""
    import h5py

    weights: dict[str, list[Floats]] = {}
    with h5py.File(io.BytesIO(raw)) as file:
        for group in file["layers"].values():
            variables = group["vars"]
            name = variables.attrs["name"]
            if name in weights or set(group) != {"vars"}:
                raise NotSupported(f"layer {name!r} has other weights")
            weights[name] = [variables[str(number)][()] for number in range(len(variables))]
    return weights


def _build(
    config: dict[str, Any], weights: Mapping[str, list[Floats]], layout: HeadLayout, feature_shape: tuple[int, int]
) -> NumpyNetwork:
    if (config["module"], config["class_name"]) != ("keras.src.models.functional", "Functional"):
        raise NotSupported(f"{config['class_name']} is not a functional model")
    nodes = {node["name"]: node for node in config["config"]["layers"]}
    learned = layout.table.learned
    head_names = [layout.head_name(parameter) for parameter in learned]
    outputs = {name for name, _, _ in config["config"]["output_layers"]}
    if outputs != {*head_names, *(output_layer(parameter.name) for parameter in learned)}:
        raise NotSupported("other outputs")
    heads = [_Node(nodes[name]) for name in head_names]
    source, shape = heads[0].source, heads[0].shape
    if len(shape) != 1 or any(head.source != source for head in heads):
        raise NotSupported("heads that do not share one vector")
    parts = [_head(head, weights, layout, parameter) for head, parameter in zip(heads, learned, strict=True)]
    return NumpyNetwork(
        tuple(_chain(nodes, weights, source, config["config"]["input_layers"], feature_shape)),
        np.concatenate([kernel for kernel, _ in parts], axis=1),
        np.concatenate([bias for _, bias in parts]),
        layout,
    )


def _head(
    head: _Node, weights: Mapping[str, list[Floats]], layout: HeadLayout, parameter: Choice | Range
) -> tuple[Floats, Floats]:
    """Return the kernel ``(units, outputs)`` and the bias ``(outputs,)`` of a parameter's head."""
    activation = head.config["activation"]
    known = "softmax" if parameter in layout.classified else "linear"
    if head.kind != ("keras.layers", "Dense") or activation != known:
        raise NotSupported(f"head {head.name!r} is {head.kind} with {activation!r}")
    kernel, bias = dense_weights(head.config, weights[head.name], head.shape[0])
    if len(bias) != layout.outputs(parameter):
        raise NotSupported(f"head {head.name!r} has {len(bias)} outputs")
    return kernel, bias


class _Node:
    """One call of a layer, with one input."""

    def __init__(self, node: dict[str, Any]) -> None:
        self.name, self.config = node["name"], node["config"]
        self.kind = node["module"], node["class_name"]
        [call] = node["inbound_nodes"]
        tensor, *self.constants = call["args"]
        if call["kwargs"] not in ({}, {"mask": None}) or tensor["class_name"] != "__keras_tensor__":
            raise NotSupported(f"layer {self.name!r} is called with {call}")
        if not all(type(constant) in (int, float) for constant in self.constants):
            raise NotSupported(f"layer {self.name!r} has more inputs")
        self.source, node_index, tensor_index = tensor["config"]["keras_history"]
        sounds, *self.shape = tensor["config"]["shape"]
        if sounds is not None or tensor["config"]["dtype"] != "float32" or (node_index, tensor_index) != (0, 0):
            raise NotSupported(f"layer {self.name!r} reads {tensor['config']}")


def _chain(
    nodes: dict[str, dict[str, Any]],
    weights: Mapping[str, list[Floats]],
    last: str,
    input_layers: list[Any],
    feature_shape: tuple[int, int],
) -> list[Layer]:
    """Return the layers from the features to the layer called ``last``."""
    layers: list[Layer] = []
    name, rest = last, dict(nodes)
    while ((found := rest.pop(name))["module"], found["class_name"]) != ("keras.layers", "InputLayer"):
        node = _Node(found)
        if node.kind not in LAYERS:
            raise NotSupported(f"layer {name!r} is {node.kind}")
        layers.insert(0, LAYERS[node.kind](node.config, weights.get(name, []), tuple(node.shape), *node.constants))
        name = node.source
    expected = {"batch_shape": [None, *feature_shape], "sparse": False, "ragged": False, "optional": False}
    require(found["config"], set(), expected)
    if input_layers not in ([name, 0, 0], [[name, 0, 0]]):
        raise NotSupported(f"inputs {input_layers}")
    return layers
