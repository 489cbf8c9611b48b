"""Output heads: one ``Dense`` layer per learned parameter, or all fused into one.

A saved model has named heads, as in the notebook. Training and serving fuse them, because dozens of small layers cost
more than the network itself. A range has either one output, its position, or a histogram: the probabilities of its
steps, or of equal parts of [0, 1]. Networks are in ``networks.py``, losses in ``losses.py``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from synthray.errors import ModelError
from synthray.synth.parameters import Choice, ParameterTable, Range

if TYPE_CHECKING:
    import keras

INPUT_NAME = "in_fft"
FUSED_NAME = "heads"


def output_name(parameter_name: str) -> str:
    """Return the name of a parameter's output in the service's answers, as in the notebook."""
    return f"out_{parameter_name}"


def output_layer(parameter_name: str) -> str:
    """Return the name of a parameter's output layer: its output's name, if TensorFlow allows it."""
    return f"out_{_layer_suffix(parameter_name)}"


def histogram_layer(parameter_name: str) -> str:
    """Return the name of the layer with a range's histogram."""
    return f"histogram_{_layer_suffix(parameter_name)}"


def _layer_suffix(parameter_name: str) -> str:
    """Return a parameter's name if TensorFlow allows it in a layer's name.

    In any other name, ``_`` replaces the characters that TensorFlow refuses. Part of a digest follows, so that no two
    parameters get the same layer name.
    """
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", parameter_name):
        return parameter_name
    digest = hashlib.sha256(parameter_name.encode()).hexdigest()[:8]
    return f"{re.sub('[^A-Za-z0-9]+', '_', parameter_name).strip('_')[:80]}_{digest}"


@dataclass(frozen=True)
class HeadLayout:
    """Columns of each head in the fused output, in the table's order."""

    table: ParameterTable
    bins: int = 0
    """Bins of a range's histogram; 0 if a range has one output."""

    def outputs(self, parameter: Choice | Range) -> int:
        """Return the number of columns of a learned parameter."""
        if isinstance(parameter, Choice) or not self.bins:
            return parameter.num_outputs
        return parameter.num_steps + 1 if parameter.step else self.bins

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Columns of each learned parameter in the fused output ``(examples, width)``."""
        edges = np.cumsum([0, *(self.outputs(parameter) for parameter in self.table.learned)]).tolist()
        return {p.name: slice(edges[i], edges[i + 1]) for i, p in enumerate(self.table.learned)}

    @property
    def width(self) -> int:
        """Number of columns of the fused output."""
        return sum(self.outputs(parameter) for parameter in self.table.learned)

    @cached_property
    def classified(self) -> tuple[Choice | Range, ...]:
        """Parameters whose columns are the logits of classes: the choices and, with histograms, the ranges too."""
        return self.table.learned if self.bins else self.table.choices

    @cached_property
    def class_columns(self) -> np.ndarray:
        """Columns of each classified parameter's classes, int32 ``(classified, classes)``.

        All rows have the length of the longest one. Shorter rows are padded with their own first column.
        """
        starts = np.array([self.columns[p.name].start for p in self.classified], np.int32).reshape(-1, 1)
        classes = np.arange(self.class_padding.shape[1], dtype=np.int32)
        return starts + np.where(self.class_padding, 0, classes).astype(np.int32)

    @cached_property
    def class_padding(self) -> np.ndarray:
        """True where ``class_columns`` is padding, bool ``(classified, classes)``."""
        counts = np.array([self.outputs(p) for p in self.classified], np.int32)
        return np.arange(counts.max(initial=1)) >= counts.reshape(-1, 1)

    @cached_property
    def class_labels(self) -> np.ndarray:
        """Label that each class stands for, float32 ``(classified, classes)``; the bin's centre in a histogram."""
        labels = np.zeros(self.class_padding.shape, np.float32)
        for row, parameter in enumerate(self.classified):
            count = self.outputs(parameter)
            index = np.arange(count)
            if isinstance(parameter, Choice):
                labels[row, :count] = index
            else:
                labels[row, :count] = index / parameter.num_steps if parameter.step else (index + 0.5) / count
        return labels

    @cached_property
    def range_columns(self) -> np.ndarray:
        """Column of each range that has one output, int32 ``(ranges,)``."""
        return np.array([self.columns[p.name].start for p in self.table.ranges if not self.bins], np.int32)

    def head_name(self, parameter: Choice | Range) -> str:
        """Return the name of the ``Dense`` layer that makes a parameter's columns in a saved model."""
        is_histogram = self.bins and not isinstance(parameter, Choice)
        return histogram_layer(parameter.name) if is_histogram else output_layer(parameter.name)

    def initial_kernel(self, inputs: int, seed: int) -> np.ndarray:
        """Return Keras's default kernel for each head, float32 ``(inputs, width)``.

        Each head is initialised as in Glorot and Bengio (2010), with the limit for its own width instead of the fused
        width.
        """
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0x4EAD])))
        kernel = np.empty((inputs, self.width), np.float32)
        for parameter in self.table.learned:
            outputs = self.outputs(parameter)
            limit = np.sqrt(6.0 / (inputs + outputs))
            kernel[:, self.columns[parameter.name]] = random.uniform(-limit, limit, (inputs, outputs))
        return kernel


def check_outputs(model: keras.Model, layout: HeadLayout) -> None:
    """Raise ModelError unless the model's outputs are those of its card."""
    table = layout.table
    expected = {output_layer(p.name): p.num_outputs for p in table.learned}
    expected |= {layout.head_name(p): layout.outputs(p) for p in table.learned}
    found = dict(zip(model.output_names, (tuple(output.shape) for output in model.outputs), strict=True))
    if missing := [name for name in expected if name not in found]:
        raise ModelError(f"the model has no output {missing[0]!r} ({len(missing)} of {len(expected)} are missing)")
    if unknown := [name for name in found if name not in expected]:
        raise ModelError(f"the model's output {unknown[0]!r} is not a learned parameter of its card")
    for name, units in expected.items():
        if found[name] != (None, units):
            raise ModelError(f"the model's output {name!r} has shape {found[name]}, its card says (None, {units})")


def unfuse(model: keras.Model, layout: HeadLayout) -> keras.Model:
    """Return ``model`` with one named ``Dense`` layer per learned parameter.

    Histograms are outputs too. They follow the outputs ``out_<name>``, which are computed from them.

    Args:
        model: a model whose last layer is the fused one. The result shares its other layers.
        layout: the columns of each head.
    """
    import keras

    fused = model.get_layer(FUSED_NAME)
    kernel, bias = fused.get_weights()
    outputs, histograms = [], []
    for parameter in layout.table.learned:
        columns = layout.columns[parameter.name]
        activation = "softmax" if parameter in layout.classified else None
        head = keras.layers.Dense(
            layout.outputs(parameter), activation=activation, name=layout.head_name(parameter), dtype="float32"
        )
        output = head(fused.input)
        head.set_weights([kernel[:, columns], bias[columns]])
        if isinstance(parameter, Range) and layout.bins:
            histograms.append(output)
            output = keras.layers.Identity(name=output_layer(parameter.name))(_median(output, parameter))
        outputs.append(output)
    return keras.Model(model.input, [*outputs, *histograms], name=model.name)


def _median(histogram: keras.KerasTensor, parameter: Range) -> keras.KerasTensor:
    """Return the median position of a histogram, ``(examples, 1)``, in operations that plain Keras can load."""
    from keras import ops

    after = ops.cumsum(histogram, axis=1)
    if parameter.step:
        # The number of steps that lie below the median.
        return ops.sum(ops.cast(after < 0.5, "float32"), axis=1, keepdims=True) / parameter.num_steps
    below = after - histogram
    # The part of each bin that lies below the median; the density is constant within a bin.
    parts = ops.clip((0.5 - below) / ops.maximum(histogram, 1e-9), 0.0, 1.0)
    return ops.mean(parts, axis=1, keepdims=True)
