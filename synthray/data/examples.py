"""A batch of examples: features, labels and noise seeds.

How a batch is stored is not here; see ``parquet.py`` and ``sources/notebook.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synthray.errors import BadBatch
from synthray.synth.loudness import loudness_dbfs
from synthray.synth.parameters import Choice, ParameterTable, Range

# Training uses float32 labels, and statistics sum their squares.
_LARGEST_LABEL = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Examples:
    """Sounds with the parameters that made them."""

    features: np.ndarray
    """Float ``(examples, frames, bins)``, magnitudes."""
    labels: np.ndarray
    """Float ``(examples, learned)``: a range as in its source, a choice as class index."""
    noise_seeds: np.ndarray | None = None
    """uint64 ``(examples,)``, seeds of the instrument's noise; None for sounds from elsewhere."""
    replaced: int = 0
    """Number of presets that were drawn again because they were silent."""

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def loudness_dbfs(self) -> np.ndarray:
        """Loudness, float64 ``(examples,)``, see ``synthray.synth.loudness``.

        It is NaN or inf if a feature is not finite.
        """
        # Features from elsewhere may be huge. Their loudness overflows to infinity, which is not silent.
        with np.errstate(over="ignore", invalid="ignore"):
            return loudness_dbfs(self.features)


def labels_from_columns(columns: list[object], table: ParameterTable, examples: int, source: str) -> np.ndarray:
    """Convert the notebook's list of one array per parameter to a matrix of labels.

    Args:
        columns: in the table's order: a range ``(examples,)``, a choice one-hot ``(examples, classes)``, a constant
            the string ``'constant'``.
        table: the expected parameters.
        examples: number of sounds in the batch.
        source: name of the object, for the error.

    Returns:
        float64 ``(examples, learned)``.

    Raises:
        BadBatch: a column has the wrong kind, shape or value; the reason names it.
    """
    if len(columns) != len(table):
        raise BadBatch(source, f"it holds {len(columns)} parameters, keys.pkl names {len(table)}")
    labels = np.empty((examples, len(table.learned)))
    for number, (parameter, column) in enumerate(zip(table.parameters, columns, strict=True)):
        name = f"parameter {number} ({parameter.name})"
        constant = isinstance(column, str) and column == "constant"
        index = table.label_index.get(parameter.name)
        if index is None:
            if not constant:
                raise BadBatch(source, f"{name} should be 'constant'")
            continue
        if constant:
            raise BadBatch(source, f"{name} is 'constant', but randomizer_parts.pkl says {parameter.kind}")
        labels[:, index] = _label(column, table.learned[index], examples, source, name)
    usable = np.abs(labels) <= _LARGEST_LABEL  # False for NaN
    if not usable.all():
        label, example = (int(index) for index in np.argwhere(~usable.T)[0])
        parameter = table.learned[label]
        name, value = f"parameter {table.parameters.index(parameter)} ({parameter.name})", labels[example, label]
        raise BadBatch(source, f"{name}, example {example}: the value is {value}, not a number of float32")
    return labels


def _label(column: object, parameter: Range | Choice, examples: int, source: str, name: str) -> np.ndarray:
    try:
        values = np.asarray(column, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise BadBatch(source, f"{name} is not an array of numbers") from None
    expected = (examples, len(parameter.values)) if isinstance(parameter, Choice) else (examples,)
    if not isinstance(parameter, Choice) and values.shape == (examples, 1):
        values = values[:, 0]
    if values.shape != expected:
        raise BadBatch(source, f"{name} has the shape {values.shape}, not {expected}")
    if not isinstance(parameter, Choice):
        return values
    classes: np.ndarray = values.argmax(axis=1)
    ones = values[np.arange(examples), classes] == 1
    if not ones.all() or np.count_nonzero(values) != examples:
        example = int(np.argmin(ones & (np.count_nonzero(values, axis=1) == 1)))
        raise BadBatch(source, f"{name}, example {example}: {values[example]} is not one-hot")
    return classes


def columns_from_labels(labels: np.ndarray, table: ParameterTable) -> list[object]:
    """Convert labels to the notebook's list of one array per parameter.

    This is the inverse of ``labels_from_columns``, and the content of ``parameter_batches_N.pkl``.
    """
    columns: list[object] = []
    for parameter in table.parameters:
        if parameter.name not in table.label_index:
            columns.append("constant")
            continue
        label = labels[:, table.label_index[parameter.name]]
        if isinstance(parameter, Choice):
            columns.append(np.eye(len(parameter.values), dtype=np.int64)[label.astype(np.int64)])
        else:
            columns.append(np.ascontiguousarray(label, np.float64))
    return columns
