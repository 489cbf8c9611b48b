"""Columns of the fused heads, and fused against named heads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from synthray.model.heads import HeadLayout, can_fuse, check_outputs, fuse, unfuse
from synthray.model.networks import build_fused
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, Constant, ParameterTable, Range
from tests.models import FOREIGN, FOREIGN_SHAPE, build_model


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


@given(tables)
def test_activated_columns_take_choices_from_the_probabilities(table: ParameterTable) -> None:
    layout = HeadLayout(table)
    outputs = np.array([f"raw {column}" for column in range(layout.width)])
    probabilities = np.array([f"probability {column}" for column in layout.class_columns.flatten()])
    activated = np.concatenate([outputs, probabilities])[layout.activated_columns]
    choice_columns = {c for p in table.choices for c in range(layout.width)[layout.columns[p.name]]}
    assert activated.tolist() == [
        f"{'probability' if column in choice_columns else 'raw'} {column}" for column in range(layout.width)
    ]
    assert not layout.class_padding.flatten()[layout.activated_columns[sorted(choice_columns)] - layout.width].any()


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
def test_unfuse_of_fuse_is_the_same_model(table: ParameterTable, seed: int) -> None:
    from synthray.model.heads import can_fuse, fuse, unfuse

    model, layout = build_model(table, FOREIGN_SHAPE, seed=seed), HeadLayout(table)
    assert can_fuse(model, layout)
    fused = fuse(model, layout)
    again = unfuse(fused, layout)
    assert again.output_names == model.output_names
    for weights, expected in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, expected)
    features = np.random.default_rng(seed).random((3, *FOREIGN_SHAPE), np.float32)
    assert fused(features).shape == (3, layout.width)
    for output, expected in zip(flat(again(features)), flat(model(features)), strict=True):
        np.testing.assert_allclose(output, expected, atol=1e-6)


def flat(outputs: object) -> list[np.ndarray]:
    import keras

    return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]


def test_fuse_orders_columns_by_the_table_whatever_the_order_of_outputs() -> None:
    import keras

    from synthray.model.heads import fuse

    model, layout = build_model(FOREIGN, FOREIGN_SHAPE), HeadLayout(FOREIGN)
    reverse = keras.Model(model.inputs, model.outputs[::-1])
    features = np.random.default_rng(0).random((3, *FOREIGN_SHAPE), np.float32)
    (outputs,) = flat(fuse(reverse, layout)(features))
    cutoff = flat(model(features))[1]
    assert np.ptp(cutoff) > 1e-4
    np.testing.assert_allclose(outputs[:, layout.columns["cutoff"]], cutoff, atol=1e-6)


@pytest.mark.parametrize("change", ["activation", "no bias", "another layer's output"])
def test_can_fuse_refuses_heads_that_are_not_plain(change: str) -> None:
    import keras

    from synthray.model.heads import can_fuse

    table = ParameterTable((Range("a"), Range("b")))
    features = keras.Input((4,))
    vector = keras.layers.Dense(3)(features)
    first = keras.layers.Dense(1, name="out_a")(vector)
    options = {"activation": {"activation": "sigmoid"}, "no bias": {"use_bias": False}}.get(change, {})
    source = keras.layers.Dense(3)(features) if change == "another layer's output" else vector
    assert can_fuse(keras.Model(features, [first, keras.layers.Dense(1, name="out_b")(vector)]), HeadLayout(table))
    second = keras.layers.Dense(1, name="out_b", **options)(source)
    assert not can_fuse(keras.Model(features, [first, second]), HeadLayout(table))


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


def test_unfused_histograms_fuse_again_and_give_medians() -> None:
    layout = HeadLayout(HISTOGRAMS, bins=8)
    fused = build_fused("histogram", (4, 6), layout, seed=1, width=4)
    kernel, bias = fused.get_layer("heads").get_weights()
    fused.get_layer("heads").set_weights([10 * kernel, bias])  # so that probabilities differ
    named = unfuse(fused, layout)
    assert named.output_names == [*(f"out_{p.name}" for p in HISTOGRAMS.learned), *(f"histogram_{n}" for n in "acd")]
    check_outputs(named, layout)
    assert can_fuse(named, layout)
    features = np.random.default_rng(0).standard_normal((50, 4, 6)).astype(np.float32)
    raw = fused(features).numpy()
    np.testing.assert_allclose(fuse(named, layout)(features).numpy(), raw, rtol=1e-5, atol=1e-5)
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
