"""Random presets of the instrument."""

import numpy as np

from synthray.synth.instrument import INSTRUMENT, ROUTINGS
from synthray.synth.presets import random_labels
from synthray.synth.priors import SWAPPED, in_canonical_order, random_presets
from synthray.synth.voice import render


def column(name: str) -> int:
    return INSTRUMENT.label_index[name]


def test_random_presets_have_the_louder_oscillator_first_where_mixed() -> None:
    labels = random_presets(3, 0, 2000)
    mixed = labels[:, column("oscillator_2_routing")] == ROUTINGS.index("mix")
    louder = labels[:, column("oscillator_1_level")] >= labels[:, column("oscillator_2_level")]
    assert louder[mixed].all()
    assert 0.4 < louder[~mixed].mean() < 0.6


def test_random_presets_slice_equals_slice_of_the_whole() -> None:
    np.testing.assert_array_equal(random_presets(3, 5, 7), random_presets(3, 0, 20)[5:12])


def test_in_canonical_order_exchanges_oscillators_only() -> None:
    labels = random_labels(INSTRUMENT, 1, 0, 500)
    before = labels.copy()
    ordered = in_canonical_order(labels)
    np.testing.assert_array_equal(labels, before)
    changed = (ordered != labels).any(axis=1)
    assert 50 < changed.sum() < 120  # half of a third
    for name in SWAPPED:
        first, second = column(f"oscillator_1_{name}"), column(f"oscillator_2_{name}")
        np.testing.assert_array_equal(ordered[changed][:, [first, second]], labels[changed][:, [second, first]])
    others = [p.name for p in INSTRUMENT.learned if not p.name.startswith("oscillator") or p.name.endswith("detune")]
    for name in others:
        np.testing.assert_array_equal(ordered[:, column(name)], labels[:, column(name)])
    np.testing.assert_array_equal(in_canonical_order(ordered), ordered)


def test_in_canonical_order_of_tuned_oscillators_sounds_the_same() -> None:
    labels = random_labels(INSTRUMENT, 2, 0, 60)
    labels[:, column("oscillator_2_routing")] = ROUTINGS.index("mix")
    labels[:, column("oscillator_2_detune")] = 0.5  # 0 cents
    before, after = (render(INSTRUMENT.labels_to_settings(x)) for x in (labels, in_canonical_order(labels)))
    np.testing.assert_allclose(before, after, atol=2e-4)
