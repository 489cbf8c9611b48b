"""One matrix product instead of one small layer per parameter.

A saved model has a ``Dense`` layer for each learned parameter, 38 for the instrument: a few microseconds of
arithmetic, and most of a small request's time in starting layers. All of them read the same tensor, so their kernels
stand side by side in one kernel here, columns sorted such that the softmax of all choices of one size is one call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf

from synthray.errors import ModelError
from synthray.model.heads import output_name
from synthray.synth.parameters import Choice, ParameterTable


@dataclass(frozen=True)
class OutputColumns:
    """Where each head's columns stand in one array ``(sounds, units)``: ranges first, then choices by size."""

    table: ParameterTable

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Positions of the learned parameters, in the order of their columns."""
        learned = self.table.learned
        return tuple(
            sorted(range(len(learned)), key=lambda i: (isinstance(learned[i], Choice), learned[i].num_outputs))
        )

    @cached_property
    def columns(self) -> Mapping[str, slice]:
        """``out_<name>`` to its columns, in the table's order."""
        start, found = 0, {}
        for i in self.order:
            parameter = self.table.learned[i]
            found[output_name(parameter.name)] = slice(start, start + parameter.num_outputs)
            start += parameter.num_outputs
        return {output_name(p.name): found[output_name(p.name)] for p in self.table.learned}

    @cached_property
    def softmax_groups(self) -> tuple[tuple[slice, int], ...]:
        """Neighbouring columns of all choices of one size, with that size."""
        groups: list[tuple[slice, int]] = []
        for i in self.order:
            parameter = self.table.learned[i]
            if not isinstance(parameter, Choice):
                continue
            columns, size = self.columns[output_name(parameter.name)], parameter.num_outputs
            if groups and groups[-1][1] == size:
                groups[-1] = (slice(groups[-1][0].start, columns.stop), size)
            else:
                groups.append((columns, size))
        return tuple(groups)

    @property
    def units(self) -> int:
        """Outputs of all heads together."""
        return sum(parameter.num_outputs for parameter in self.table.learned)


def check_outputs(model: keras.Model, table: ParameterTable) -> None:
    """Raise :class:`ModelError` unless ``model`` has exactly the heads that ``table`` asks for."""
    expected = {output_name(p.name): p.num_outputs for p in table.learned}
    found = dict(zip(model.output_names, (tuple(output.shape) for output in model.outputs), strict=True))
    if missing := [name for name in expected if name not in found]:
        raise ModelError(f"the model has no output {missing[0]!r} ({len(missing)} of {len(expected)} are missing)")
    if unknown := [name for name in found if name not in expected]:
        raise ModelError(f"the model's output {unknown[0]!r} is no learned parameter of its card")
    for name, units in expected.items():
        if found[name] != (None, units):
            raise ModelError(f"the model's output {name!r} has shape {found[name]}, its card says (None, {units})")


def fused_function(model: keras.Model, layout: OutputColumns) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from features ``(sounds, frames, bins)`` to all outputs ``(sounds, units)``, both float32.

    Falls back to the model's own layers when a head is anything but a plain ``Dense`` on the one shared tensor.
    """
    heads = [model.get_layer(name) for name in sorted(layout.columns, key=lambda n: layout.columns[n].start)]
    if not _is_fusible(heads, layout):
        return lambda features: _concatenated(model, layout, features)
    trunk = keras.Model(model.inputs, heads[0].input)
    kernel = tf.constant(np.concatenate([keras.ops.convert_to_numpy(head.kernel) for head in heads], axis=1))
    bias = tf.constant(np.concatenate([keras.ops.convert_to_numpy(head.bias) for head in heads]))

    def outputs(features: tf.Tensor) -> tf.Tensor:
        hidden = tf.cast(trunk(features, training=False), kernel.dtype)
        return _softmax_by_group(tf.matmul(hidden, kernel) + bias, layout)

    return outputs


def _is_fusible(heads: list[keras.layers.Layer], layout: OutputColumns) -> bool:
    choices = {output_name(p.name) for p in layout.table.choices}
    return all(
        type(head) is keras.layers.Dense
        and head.use_bias
        and head.input is heads[0].input
        and len(head.input.shape) == 2
        and head.activation is (keras.activations.softmax if head.name in choices else keras.activations.linear)
        for head in heads
    )


def _softmax_by_group(logits: tf.Tensor, layout: OutputColumns) -> tf.Tensor:
    """Logits ``(sounds, units)`` with each choice's columns turned into probabilities."""
    first = min((columns.start for columns, _ in layout.softmax_groups), default=layout.units)
    parts = [logits[:, :first]]
    for columns, size in layout.softmax_groups:
        width = columns.stop - columns.start
        grouped = tf.reshape(logits[:, columns], (-1, width // size, size))
        parts.append(tf.reshape(tf.nn.softmax(grouped), (-1, width)))
    return tf.concat(parts, axis=1)


def _concatenated(model: keras.Model, layout: OutputColumns, features: tf.Tensor) -> tf.Tensor:
    outputs = dict(zip(model.output_names, keras.tree.flatten(model(features, training=False)), strict=True))
    names = sorted(layout.columns, key=lambda name: layout.columns[name].start)
    return tf.concat([tf.cast(outputs[name], tf.float32) for name in names], axis=1)
