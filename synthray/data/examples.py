"""One batch of examples, in the form in which every part of the data side passes it on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synthray.errors import BadBatch
from synthray.synth.loudness import loudness_dbfs
from synthray.synth.parameters import Choice, ParameterTable

# Labels are trained on in float32; statistics add up their squares, too.
_LARGEST_LABEL = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Examples:
    """SoundGenerator beside the settings that made them.

    features: float ``(examples, frames, bins)``, magnitudes.
    labels: float ``(examples, learned)``: a range as the source gives it, a choice as the index of its class.
    noise_seeds: uint64 ``(examples,)``, what the instrument makes each sound's noise from; None for sounds that it did
        not make.
    replaced: how many of the presets were drawn again, because nothing was to be heard.
    """

    features: np.ndarray
    labels: np.ndarray
    noise_seeds: np.ndarray | None = None
    replaced: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def loudness_dbfs(self) -> np.ndarray:
        """float64 ``(examples,)``, as ``synthray.synth.loudness`` has it; NaN or inf where a value is not finite."""
        with np.errstate(over="ignore", invalid="ignore"):  # what is no spectrum may be of any size: it counts as loud
            return loudness_dbfs(self.features)


def labels_from_columns(columns: list[object], table: ParameterTable, examples: int, source: str) -> np.ndarray:
    """The notebook's list of one array a parameter (``'constant'`` for a constant) as one matrix of labels.

    Args:
        columns: in the table's order; a range ``(examples,)``, a choice one-hot ``(examples, classes)``.
        table: what the columns should be.
        examples: how many sounds the batch has.
        source: the object's name, for the error.

    Returns:
        float64 ``(examples, learned)``.

    Raises:
        BadBatch: a column is of the wrong kind, shape or value; the reason names it.
    """
    if len(columns) != len(table):
        raise BadBatch(source, f"it holds {len(columns)} parameters, keys.pkl names {len(table)}")
    labels = np.empty((examples, len(table.learned)))
    for number, (parameter, column) in enumerate(zip(table.parameters, columns, strict=True)):
        name = f"parameter {number} ({parameter.name})"
        constant = isinstance(column, str) and column == "constant"
        if parameter.name not in table.label_index:
            if not constant:
                raise BadBatch(source, f"{name} should be 'constant'")
            continue
        if constant:
            raise BadBatch(source, f"{name} is 'constant', but randomizer_parts.pkl says {parameter.kind}")
        labels[:, table.label_index[parameter.name]] = _label(column, parameter, examples, source, name)
    usable = np.abs(labels) <= _LARGEST_LABEL  # and no NaN, of which nothing is true
    if not usable.all():
        label, example = (int(place) for place in np.argwhere(~usable.T)[0])
        parameter = table.learned[label]
        name, value = f"parameter {table.parameters.index(parameter)} ({parameter.name})", labels[example, label]
        raise BadBatch(source, f"{name}, example {example}: the value is {value}, not a number of float32")
    return labels


def _label(column: object, parameter: object, examples: int, source: str, name: str) -> np.ndarray:
    try:
        values = np.asarray(column, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise BadBatch(source, f"{name} is not an array of numbers") from None
    wanted = (examples, len(parameter.values)) if isinstance(parameter, Choice) else (examples,)
    if not isinstance(parameter, Choice) and values.shape == (examples, 1):
        values = values[:, 0]
    if values.shape != wanted:
        raise BadBatch(source, f"{name} has the shape {values.shape}, not {wanted}")
    if not isinstance(parameter, Choice):
        return values
    classes = values.argmax(axis=1)
    ones = values[np.arange(examples), classes] == 1
    if not ones.all() or np.count_nonzero(values) != examples:
        example = int(np.argmin(ones & (np.count_nonzero(values, axis=1) == 1)))
        raise BadBatch(source, f"{name}, example {example}: {values[example]} is not one-hot")
    return classes


def columns_from_labels(labels: np.ndarray, table: ParameterTable) -> list[object]:
    """The inverse of ``labels_from_columns``: the list that the notebook's ``parameter_batches_N.pkl`` holds."""
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
