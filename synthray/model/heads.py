"""Output heads: one ``Dense`` layer per learned parameter, or all fused into one.

A saved model has named heads, as in the notebook. Training and serving fuse them, because dozens of small layers cost
more than the network itself. Networks are in ``networks.py``, losses in ``losses.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from synthray.errors import ModelError
from synthray.synth.parameters import Choice, ParameterTable

if TYPE_CHECKING:
    import keras

INPUT_NAME = "in_fft"
FUSED_NAME = "heads"


def output_name(parameter_name: str) -> str:
    """Return the name of a parameter's output layer, as in the notebook."""
    return f"out_{parameter_name}"


@dataclass(frozen=True)
class HeadLayout:
    """Columns of each head in the fused output, in the table's order."""

    table: ParameterTable

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Columns of each learned parameter in the fused output ``(examples, width)``."""
        edges = np.cumsum([0, *(parameter.num_outputs for parameter in self.table.learned)]).tolist()
        return {p.name: slice(edges[i], edges[i + 1]) for i, p in enumerate(self.table.learned)}

    @property
    def width(self) -> int:
        """Number of columns of the fused output."""
        return sum(parameter.num_outputs for parameter in self.table.learned)

    @cached_property
    def range_columns(self) -> np.ndarray:
        """Column of each range in the fused output, int32 ``(ranges,)``."""
        return np.array([self.columns[p.name].start for p in self.table.ranges], np.int32)

    @cached_property
    def choice_columns(self) -> np.ndarray:
        """Columns of each choice's classes, int32 ``(choices, classes)``.

        Rows are as long as the largest choice. Shorter ones are padded with their own first column.
        """
        starts = np.array([self.columns[p.name].start for p in self.table.choices], np.int32).reshape(-1, 1)
        classes = np.arange(self.choice_padding.shape[1], dtype=np.int32)
        return starts + np.where(self.choice_padding, 0, classes).astype(np.int32)

    @cached_property
    def choice_padding(self) -> np.ndarray:
        """True where ``choice_columns`` is padding, bool ``(choices, classes)``."""
        counts = np.array([len(p.values) for p in self.table.choices], np.int32)
        return np.arange(counts.max(initial=1)) >= counts.reshape(-1, 1)

    @cached_property
    def activated_columns(self) -> np.ndarray:
        """Source of each activated output, int32 ``(width,)``.

        Sources are the columns of the fused output, followed by the flattened ``(choices, classes)`` probabilities.
        """
        columns = np.arange(self.width, dtype=np.int32)
        classes = ~self.choice_padding
        columns[self.choice_columns[classes]] = self.width + np.flatnonzero(classes)
        return columns

    def initial_kernel(self, inputs: int, seed: int) -> np.ndarray:
        """Return Keras's default kernel for each head, float32 ``(inputs, width)``.

        Each head is drawn by Glorot and Bengio (2010), with the limit of its own width instead of the fused width.
        """
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0x4EAD])))
        kernel = np.empty((inputs, self.width), np.float32)
        for parameter in self.table.learned:
            limit = np.sqrt(6.0 / (inputs + parameter.num_outputs))
            kernel[:, self.columns[parameter.name]] = random.uniform(-limit, limit, (inputs, parameter.num_outputs))
        return kernel


def check_outputs(model: keras.Model, table: ParameterTable) -> None:
    """Raise ModelError unless the model's outputs are the heads of ``table``."""
    expected = {output_name(p.name): p.num_outputs for p in table.learned}
    found = dict(zip(model.output_names, (tuple(output.shape) for output in model.outputs), strict=True))
    if missing := [name for name in expected if name not in found]:
        raise ModelError(f"the model has no output {missing[0]!r} ({len(missing)} of {len(expected)} are missing)")
    if unknown := [name for name in found if name not in expected]:
        raise ModelError(f"the model's output {unknown[0]!r} is not a learned parameter of its card")
    for name, units in expected.items():
        if found[name] != (None, units):
            raise ModelError(f"the model's output {name!r} has shape {found[name]}, its card says (None, {units})")


def can_fuse(model: keras.Model, layout: HeadLayout) -> bool:
    """Return whether all named heads are plain ``Dense`` layers on one shared vector."""
    import keras

    linear, softmax = keras.activations.linear, keras.activations.softmax
    heads = [(model.get_layer(output_name(p.name)), isinstance(p, Choice)) for p in layout.table.learned]
    vector = heads[0][0].input
    return all(
        type(head) is keras.layers.Dense
        and head.use_bias
        and head.input is vector
        and len(vector.shape) == 2
        and head.activation is (softmax if is_choice else linear)
        for head, is_choice in heads
    )


def fuse(model: keras.Model, layout: HeadLayout) -> keras.Model:
    """Return ``model`` with one fused ``Dense`` layer as its head.

    It is the inverse of ``unfuse``.

    Args:
        model: a model for which ``can_fuse`` is true. The result shares its other layers.
        layout: the columns of each head.

    Returns:
        a model from features to raw outputs, float32 ``(examples, width)``: logits for choices.
    """
    import keras

    heads = [model.get_layer(output_name(parameter.name)) for parameter in layout.table.learned]
    kernels, biases = zip(*(head.get_weights() for head in heads), strict=True)
    fused = keras.layers.Dense(layout.width, name=FUSED_NAME, dtype="float32")
    outputs = fused(heads[0].input)
    fused.set_weights([np.concatenate(kernels, axis=1), np.concatenate(biases)])
    return keras.Model(model.input, outputs, name=model.name)


def unfuse(model: keras.Model, layout: HeadLayout) -> keras.Model:
    """Return ``model`` with one named ``Dense`` layer per learned parameter.

    It is the inverse of ``fuse``.

    Args:
        model: a model whose last layer is the fused one. The result shares its other layers.
        layout: the columns of each head.
    """
    import keras

    fused = model.get_layer(FUSED_NAME)
    kernel, bias = fused.get_weights()
    outputs = []
    for parameter in layout.table.learned:
        name, columns = output_name(parameter.name), layout.columns[parameter.name]
        activation = "softmax" if isinstance(parameter, Choice) else None
        head = keras.layers.Dense(parameter.num_outputs, activation=activation, name=name, dtype="float32")
        outputs.append(head(fused.input))
        head.set_weights([kernel[:, columns], bias[columns]])
    return keras.Model(model.input, outputs, name=model.name)
