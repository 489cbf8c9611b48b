"""Columns of the fused heads, and fused against named heads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from synthray.model.heads import HeadLayout
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
def test_choice_columns_beyond_a_choices_classes_are_padding(table: ParameterTable) -> None:
    layout = HeadLayout(table)
    for choice, columns, padding in zip(table.choices, layout.choice_columns, layout.choice_padding, strict=True):
        count, first = len(choice.values), layout.columns[choice.name].start
        assert columns.tolist() == [*range(first, first + count), *[first] * (len(columns) - count)]
        assert padding.tolist() == [False] * count + [True] * (len(columns) - count)


@given(tables)
def test_activated_columns_take_choices_from_the_probabilities(table: ParameterTable) -> None:
    layout = HeadLayout(table)
    outputs = np.array([f"raw {column}" for column in range(layout.width)])
    probabilities = np.array([f"probability {column}" for column in layout.choice_columns.flatten()])
    activated = np.concatenate([outputs, probabilities])[layout.activated_columns]
    choice_columns = {c for p in table.choices for c in range(layout.width)[layout.columns[p.name]]}
    assert activated.tolist() == [
        f"{'probability' if column in choice_columns else 'raw'} {column}" for column in range(layout.width)
    ]
    assert not layout.choice_padding.flatten()[layout.activated_columns[sorted(choice_columns)] - layout.width].any()


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
