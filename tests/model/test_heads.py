"""Columns of the fused heads, and named heads against fused ones."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from synthray.model.heads import HeadLayout, check_outputs, unfuse
from synthray.model.networks import build_fused
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, Constant, ParameterTable, Range
from tests.models import FOREIGN, FOREIGN_SHAPE


def make_table(classes: list[int | None]) -> ParameterTable:
    """Return a table with a range per None and a choice of n values per number n."""
    learned = [
        Range(f"p{number}") if count is None else Choice(f"p{number}", tuple(map(str, range(count))))
        for number, count in enumerate(classes)
    ]
    return ParameterTable((Constant("volume"), *learned))


tables = st.lists(st.none() | st.integers(1, 6), min_size=1, max_size=6).map(make_table)


@given(tables)
@example(INSTRUMENT)
def test_columns_follow_one_another_in_the_tables_order(table: ParameterTable) -> None:
    layout = HeadLayout(table)
    columns = [list(range(layout.width))[layout.columns[p.name]] for p in table.learned]
    assert [len(part) for part in columns] == [p.num_outputs for p in table.learned]
    assert [column for part in columns for column in part] == list(range(layout.width))
    assert layout.range_columns.tolist() == [layout.columns[p.name].start for p in table.ranges]


@given(tables)
def test_class_columns_beyond_a_choices_classes_are_padding(table: ParameterTable) -> None:
    layout = HeadLayout(table)
    for choice, columns, padding in zip(table.choices, layout.class_columns, layout.class_padding, strict=True):
        count, first = len(choice.values), layout.columns[choice.name].start
        assert columns.tolist() == [*range(first, first + count), *[first] * (len(columns) - count)]
        assert padding.tolist() == [False] * count + [True] * (len(columns) - count)


def test_initial_kernel_has_each_heads_own_glorot_limit() -> None:
    layout = HeadLayout(INSTRUMENT)
    kernel = layout.initial_kernel(256, seed=5)
    assert kernel.shape == (256, 31 + 27)
    for parameter in INSTRUMENT.learned:
        limit = np.sqrt(6 / (256 + parameter.num_outputs))
        part = kernel[:, layout.columns[parameter.name]]
        assert 0.9 * limit < np.abs(part).max() <= limit
    np.testing.assert_array_equal(kernel, layout.initial_kernel(256, seed=5))
    assert (kernel != layout.initial_kernel(256, seed=6)).mean() > 0.99


@settings(max_examples=10)
@given(tables, st.integers(0, 1000))
@example(FOREIGN, 0)
def test_unfuse_names_the_columns_of_the_fused_head(table: ParameterTable, seed: int) -> None:
    layout = HeadLayout(table)
    fused = build_fused("notebook", FOREIGN_SHAPE, layout, seed, width=4)
    named = unfuse(fused, layout)
    check_outputs(named, layout)
    features = np.random.default_rng(seed).random((3, *FOREIGN_SHAPE), np.float32)
    raw = fused(features).numpy()
    for parameter, output in zip(table.learned, flat(named(features)), strict=True):
        expected = raw[:, layout.columns[parameter.name]]
        if isinstance(parameter, Choice):
            expected = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(output, expected, atol=1e-6)


def flat(outputs: object) -> list[np.ndarray]:
    import keras

    return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]


HISTOGRAMS = ParameterTable((Range("a"), Choice("b", ("x", "y", "z")), Range("c", 0, 6, step=1), Range("d")))


def test_histogram_columns_are_bins_steps_and_classes() -> None:
    layout = HeadLayout(HISTOGRAMS, bins=8)
    assert [layout.outputs(p) for p in HISTOGRAMS.learned] == [8, 3, 7, 8]
    assert layout.width == 26
    assert layout.classified == HISTOGRAMS.learned
    assert not len(layout.range_columns)
    np.testing.assert_allclose(layout.class_labels[0], (np.arange(8) + 0.5) / 8)
    np.testing.assert_allclose(layout.class_labels[1, :3], [0, 1, 2])
    np.testing.assert_allclose(layout.class_labels[2, :7], np.arange(7) / 6)


def test_unfused_histograms_are_softmaxes_and_give_medians() -> None:
    layout = HeadLayout(HISTOGRAMS, bins=8)
    fused = build_fused("histogram", (4, 6), layout, seed=1, width=4)
    kernel, bias = fused.get_layer("heads").get_weights()
    fused.get_layer("heads").set_weights([10 * kernel, bias])  # so that probabilities differ
    named = unfuse(fused, layout)
    assert named.output_names == [*(f"out_{p.name}" for p in HISTOGRAMS.learned), *(f"histogram_{n}" for n in "acd")]
    check_outputs(named, layout)
    features = np.random.default_rng(0).standard_normal((50, 4, 6)).astype(np.float32)
    raw = fused(features).numpy()
    outputs = dict(zip(named.output_names, named(features), strict=True))
    for parameter in HISTOGRAMS.ranges:
        logits = raw[:, layout.columns[parameter.name]].astype(np.float64)
        histogram = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(outputs[f"histogram_{parameter.name}"], histogram, rtol=1e-4, atol=1e-5)
        expected = [literal_median(row, parameter) for row in histogram]
        np.testing.assert_allclose(outputs[f"out_{parameter.name}"][:, 0], expected, rtol=1e-4, atol=1e-4)
        assert np.std(expected) > 0.05


def literal_median(histogram: np.ndarray, parameter: Range) -> float:
    """Walk through the bins until half of the probability is below."""
    total = 0.0
    for index, probability in enumerate(histogram):
        if total + probability >= 0.5:
            if parameter.step:
                return index / parameter.num_steps
            return (index + (0.5 - total) / probability) / len(histogram)
        total += probability
    raise AssertionError("the probabilities do not sum to 1")
