"""Random presets of the instrument: uniform, musical, and mixtures."""

import numpy as np
import pytest

from synthray.errors import ConfigError
from synthray.synth.instrument import FILTER_TYPES, INSTRUMENT, ROUTINGS
from synthray.synth.musical import CHOICES, INTERVALS, RANGES, AroundCentre, Shape, drawn
from synthray.synth.presets import random_labels
from synthray.synth.priors import (
    MUSICAL,
    SWAPPED,
    UNIFORM,
    Prior,
    in_canonical_order,
    random_presets,
)
from synthray.synth.voice import check_settings, render

HALF = Prior(0.5)
PINNED_MUSICAL = [
    1.0, 0.875, 0.7501471042633057, 0.097688227891922, 1.0,
    0.875, 0.34120121598243713, 0.0, 0.4965737462043762, 0.811903178691864,
]  # fmt: skip


def column(name: str) -> int:
    return INSTRUMENT.label_index[name]


def test_random_presets_have_the_louder_oscillator_first_where_mixed() -> None:
    labels = random_presets(3, 0, 2000)
    mixed = labels[:, column("oscillator_2_routing")] == ROUTINGS.index("mix")
    louder = labels[:, column("oscillator_1_level")] >= labels[:, column("oscillator_2_level")]
    assert louder[mixed].all()
    assert 0.4 < louder[~mixed].mean() < 0.6


@pytest.mark.parametrize("prior", [UNIFORM, MUSICAL, HALF])
def test_random_presets_slice_equals_slice_of_the_whole(prior: Prior) -> None:
    whole = random_presets(3, 0, 200, prior=prior)
    for first, count in ((5, 7), (0, 1), (199, 1), (100, 100), (4, 0)):
        np.testing.assert_array_equal(random_presets(3, first, count, prior=prior), whole[first : first + count])


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


def test_random_presets_of_a_mixture_are_those_of_both_priors() -> None:
    uniform, musical, mixed = (random_presets(4, 0, 4000, prior=prior) for prior in (UNIFORM, MUSICAL, Prior(0.3)))
    from_uniform, from_musical = ((mixed == other).all(axis=1) for other in (uniform, musical))
    assert (from_uniform ^ from_musical).all()
    assert from_musical.mean() == pytest.approx(0.3, abs=0.03)
    # with a larger share, musical presets stay musical
    more = random_presets(4, 0, 4000, prior=Prior(0.6))
    np.testing.assert_array_equal(more[from_musical], mixed[from_musical])


def test_random_presets_replaced_ones_keep_their_kind() -> None:
    replaced = random_presets(4, 0, 500, redrawn=2, prior=HALF)
    kinds = [(random_presets(4, 0, 500, redrawn, HALF) == random_presets(4, 0, 500, redrawn, MUSICAL)).all(axis=1)
             for redrawn in (0, 1, 2)]  # fmt: skip
    np.testing.assert_array_equal(kinds[0], kinds[1])
    np.testing.assert_array_equal(kinds[0], kinds[2])
    assert (replaced != random_presets(4, 0, 500, redrawn=1, prior=HALF)).any(axis=1).all()


def test_random_presets_musical_are_pinned() -> None:
    """A data set may be stored as a seed, so these numbers must never change."""
    labels = random_presets(7, 1000, 1, prior=MUSICAL)
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels[0, :10], np.float32(PINNED_MUSICAL))


def test_random_presets_musical_are_valid_and_in_canonical_order() -> None:
    labels = random_presets(5, 0, 3000, prior=MUSICAL)
    check_settings(INSTRUMENT.labels_to_settings(labels))
    np.testing.assert_array_equal(in_canonical_order(labels), labels)


def test_random_presets_musical_modulate_little() -> None:
    settings = INSTRUMENT.labels_to_settings(random_presets(6, 0, 4000, prior=MUSICAL))

    def of(name: str) -> np.ndarray:
        return settings[:, INSTRUMENT.index[name]]

    for name in ("filter_lfo_amount", "pitch_lfo_amount", "amplitude_lfo_amount"):
        assert (of(name) == 0).mean() == pytest.approx(0.7, abs=0.03)
    assert (of("pitch_envelope_amount") == 0).mean() == pytest.approx(0.8, abs=0.03)
    assert (of("oscillator_2_detune") == 0).mean() == pytest.approx(0.2, abs=0.03)
    assert np.median(abs(of("oscillator_2_detune"))) < 15
    assert np.median(of("noise_level")) == -60
    assert (of("noise_level") > -30).mean() < 0.15
    assert np.median(of("filter_drive")) < 3
    assert np.median(of("filter_resonance")) < 1.5
    assert np.median(of("amplitude_envelope_sustain")) > 50
    assert (of("filter_type") == FILTER_TYPES.index("lowpass")).mean() == pytest.approx(0.7, abs=0.03)
    assert (of("oscillator_2_routing") == ROUTINGS.index("mix")).mean() == pytest.approx(0.7, abs=0.03)
    assert (of("filter_envelope_amount") > 0).mean() > 0.5


def test_random_presets_musical_oscillators_are_in_intervals() -> None:
    settings = INSTRUMENT.labels_to_settings(random_presets(6, 0, 4000, prior=MUSICAL))
    first, second = (settings[:, INSTRUMENT.index[f"oscillator_{number}_pitch"]] for number in (1, 2))
    assert set(abs(second - first)) == {abs(interval) for interval in INTERVALS}
    assert (first == second).mean() == pytest.approx(0.35, abs=0.03)
    values, counts = np.unique(np.concatenate([first, second]), return_counts=True)
    np.testing.assert_array_equal(values, np.arange(-24, 25))  # any note
    assert counts.min() > 50  # of 163 on average


def test_musical_tables_name_parameters_of_the_instrument() -> None:
    assert set(RANGES) <= {parameter.name for parameter in INSTRUMENT.ranges}
    assert set(CHOICES) == {parameter.name for parameter in INSTRUMENT.choices}
    for parameter in INSTRUMENT.choices:
        assert set(CHOICES[parameter.name]) == set(parameter.values)
    for shares in [*CHOICES.values(), INTERVALS]:
        assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("shape", [*RANGES.values(), Shape(squared=True, low=0.2, high=0.4)])
def test_shape_position_has_its_share_off_and_the_rest_in_range(shape: Shape | AroundCentre) -> None:
    position = shape.position(np.linspace(0, 1, 100_001)[:-1])
    off = shape.off if isinstance(shape, Shape) else 0.5
    low, high = (shape.low, shape.high) if isinstance(shape, Shape) else (0, 1)
    assert (position == off).mean() == pytest.approx(shape.off_share, abs=1e-4)
    rest = position[position != off]
    assert low <= rest.min() < low + 0.01
    assert high - 0.01 < rest.max() < high
    assert 0 <= position.min() <= position.max() <= 1


def test_drawn_gives_each_index_its_share() -> None:
    indices = drawn([0.5, 0.2, 0.3], np.linspace(0, 1, 1001)[:-1])
    np.testing.assert_array_equal(np.bincount(indices), [500, 200, 300])


@pytest.mark.parametrize("text", ["uniform", "musical", "musical:0.5", "musical:0.1"])
def test_prior_parse_round_trip(text: str) -> None:
    assert str(Prior.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "short"), [("musical:1", "musical"), ("musical:0", "uniform"), ("musical:.50", "musical:0.5")]
)
def test_prior_has_one_shortest_text(text: str, short: str) -> None:
    assert str(Prior.parse(text)) == short


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown value"),
        ("loud", r"unknown value \('loud'\). Use uniform, musical, or"),
        ("uniform:0.5", "unknown value"),
        ("musical:", "'' in 'musical:' is not a number"),
        ("musical:x", "'x' in 'musical:x' is not a number"),
        ("musical:1.5", "is 1.5. It must be from 0 to 1"),
        ("musical:-0.1", "is -0.1. It must be from 0 to 1"),
        ("musical:nan", "is nan. It must be from 0 to 1"),
    ],
)
def test_prior_parse_invalid_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Prior.parse(text)
