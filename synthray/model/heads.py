"""The heads: one output a learned parameter, as a network sees them and as one matrix.

A saved model has a named ``Dense`` layer for each learned parameter, as in the notebook. While training, the same
kernels stand side by side in one ``Dense`` layer: dozens of small layers cost more than the network itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synthray.synth.parameters import ParameterTable

INPUT_NAME = "in_fft"
_MASKED = -1e9


def output_name(parameter_name: str) -> str:
    """The name of a parameter's output layer, as in the notebook."""
    return f"out_{parameter_name}"


@dataclass(frozen=True)
class HeadLayout:
    """Where each head's columns lie in the fused output: in the table's order, one after the other."""

    table: ParameterTable

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Columns of each learned parameter in the fused output ``(examples, width)``."""
        edges = np.cumsum([0, *(parameter.num_outputs for parameter in self.table.learned)]).tolist()
        return {p.name: slice(edges[i], edges[i + 1]) for i, p in enumerate(self.table.learned)}

    @property
    def width(self) -> int:
        """Columns of the fused output."""
        return sum(parameter.num_outputs for parameter in self.table.learned)

    @cached_property
    def range_columns(self) -> np.ndarray:
        """int32 ``(ranges,)``: column of each range in the fused output."""
        return np.array([self.columns[p.name].start for p in self.table.ranges], np.int32)

    @cached_property
    def range_labels(self) -> np.ndarray:
        """int32 ``(ranges,)``: column of each range in the labels."""
        return np.array([self.table.label_index[p.name] for p in self.table.ranges], np.int32)

    @cached_property
    def choice_labels(self) -> np.ndarray:
        """int32 ``(choices,)``: column of each choice in the labels."""
        return np.array([self.table.label_index[p.name] for p in self.table.choices], np.int32)

    @cached_property
    def choice_columns(self) -> np.ndarray:
        """int32 ``(choices, classes)``: columns of each choice's classes, padded with its first to the widest."""
        starts = [self.columns[p.name].start for p in self.table.choices]
        return np.array(starts, np.int32)[:, None] + np.where(self._padded, 0, np.arange(self._widest)).astype(np.int32)

    @cached_property
    def choice_mask(self) -> np.ndarray:
        """float32 ``(choices, classes)``: 0 for a class, a large negative number for padding; to be added to logits."""
        return np.where(self._padded, _MASKED, 0).astype(np.float32)

    @property
    def _widest(self) -> int:
        return max((len(p.values) for p in self.table.choices), default=1)

    @property
    def _padded(self) -> np.ndarray:
        counts = np.array([len(p.values) for p in self.table.choices], np.int32).reshape(-1, 1)
        return np.arange(self._widest) >= counts

    def initial_kernel(self, inputs: int, seed: int) -> np.ndarray:
        """float32 ``(inputs, width)``: for each head what Keras would give it alone (Glorot uniform)."""
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0x4EAD])))
        kernel = np.empty((inputs, self.width), np.float32)
        for parameter in self.table.learned:
            # Glorot and Bengio 2010: the limit depends on a head's own width, not on all heads together
            limit = np.sqrt(6.0 / (inputs + parameter.num_outputs))
            kernel[:, self.columns[parameter.name]] = random.uniform(-limit, limit, (inputs, parameter.num_outputs))
        return kernel
