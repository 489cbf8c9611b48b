"""Where a sound begins: against a literal search in the whole recording, and on rendered presets."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from synthray.errors import SoundError
from synthray.synth.files.sound_file import KEPT, PRE_ROLL, SILENT_RUN, read_sound
from synthray.synth.instrument import N_SAMPLES, SAMPLE_RATE_HZ
from synthray.synth.onset import LOOK_S, MAX_SILENCE_S, find_onset, measure_levels
from synthray.synth.voice import render
from tests.synth.sound_files import encoded
from tests.synth.sounds import plain_settings, random_settings

TOLERANCE_S = 0.006
"""Difference between the onset of a sound with and without silence in front of it."""


def slow_onset(samples: list[float]) -> int | None:
    """Return the first sample that is used of a whole recording of one channel, one sample at a time."""

    def level(hop: int) -> float:
        part = samples[hop * 220 : hop * 220 + 220]
        part = part + [part[-1]] * (220 - len(part))
        mean = sum(part) / 220
        return math.sqrt(sum((sample - mean) ** 2 for sample in part) / 220)

    levels = [level(hop) for hop in range(math.ceil(len(samples) / 220))]
    top = max(levels)
    if top < 1e-5:
        return None
    sure = next(hop for hop, value in enumerate(levels) if value > top / 100)
    noise = sorted(([0.0] * 5 + levels[:sure])[-5:])[1]  # the lower quartile of five numbers
    threshold = min(max(noise * 10**0.6, top / 1000), top / 100)
    while sure > 0 and levels[sure - 1] > threshold:
        sure -= 1
    first = max(0, sure - 1) * 220
    rest = sum(samples[first : sure * 220]) / 220 if sure else samples[0]
    peak = max((abs(sample - rest) for sample in samples[first : first + 110]), default=0.0) if sure else 0.0
    limit = max(threshold, 1.25 * peak)
    onset = sure * 220
    for position in range(first, min((sure + 1) * 220, len(samples))):
        if abs(samples[position] - rest) > limit:
            onset = position
            break
    begin = max(first, onset - PRE_ROLL)
    if begin <= KEPT:
        return 0
    silent = first
    while silent < onset and samples[silent] == samples[first]:
        silent += 1
    return silent - 1 if silent - first >= SILENT_RUN and begin - silent <= KEPT else begin


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    lead_in=st.integers(0, 4000),
    attack=st.integers(1, 6000),
    noise_db=st.sampled_from([-math.inf, -200.0, -90.0, -60.0, -50.0, -30.0]),
    offset=st.sampled_from([0.0, 0.2]),
    gain_db=st.floats(-60.0, 0.0),
)
def test_read_sound_begins_where_a_literal_search_does(
    seed: int, lead_in: int, attack: int, noise_db: float, offset: float, gain_db: float
) -> None:
    random = np.random.default_rng(seed)
    envelope = np.concatenate([np.zeros(lead_in), np.minimum(np.arange(8000) / attack, 1.0)])
    sound = np.sin(np.arange(len(envelope)) * random.uniform(0.03, 2.0)) * envelope
    samples = (sound + random.normal(size=len(sound)) * 10 ** (noise_db / 20)) * 10 ** (gain_db / 20) + offset
    read = read_sound(encoded(samples, SAMPLE_RATE_HZ, subtype="DOUBLE"))
    start = slow_onset(samples.tolist())
    assert start is not None
    assert read.skipped_s * SAMPLE_RATE_HZ == pytest.approx(start, abs=1e-6)
    used = samples[start : start + N_SAMPLES]
    has_offset = abs(used.mean()) > 0.01 * used.std()
    np.testing.assert_allclose(read.audio[: len(used)], used - used.mean() * has_offset, atol=1e-6)


@pytest.fixture(scope="module")
def slow_attacks() -> np.ndarray:
    """Return 12 random presets and three attacks of a second, float32 (15, 22050), each with its peak at 0.5."""
    chosen = [
        plain_settings(amplitude_envelope_attack=1000.0, oscillator_1_pitch=pitch) for pitch in (-24.0, 0.0, 24.0)
    ]
    sounds = render(np.concatenate([random_settings(12, seed=3), np.array(chosen)]))
    return sounds * (0.5 / np.abs(sounds).max(axis=1, keepdims=True))


@pytest.mark.parametrize("lead_in_s", [0.001, 0.0137, 0.1, 0.5, 3.7, 80.0])
def test_read_sound_after_silence_is_the_same_as_without(slow_attacks: np.ndarray, lead_in_s: float) -> None:
    silence = np.zeros(round(lead_in_s * SAMPLE_RATE_HZ))
    for audio in slow_attacks[:: 7 if lead_in_s > 10 else 1]:
        alone = read_sound(encoded(audio, SAMPLE_RATE_HZ, subtype="FLOAT"))
        later = read_sound(encoded(np.concatenate([silence, audio]), SAMPLE_RATE_HZ, subtype="FLOAT"))
        assert alone.skipped_s == 0.0
        shift_s = later.skipped_s - alone.skipped_s - len(silence) / SAMPLE_RATE_HZ
        assert abs(shift_s) < TOLERANCE_S
        shift = round(shift_s * SAMPLE_RATE_HZ)
        first, second = (later.audio, alone.audio) if shift < 0 else (alone.audio, later.audio)
        same = N_SAMPLES - abs(shift)
        difference = first[abs(shift) :] - second[:same]
        np.testing.assert_allclose(difference - difference.mean(), 0.0, atol=1e-3)


@pytest.mark.parametrize("lead_in", [100, 219, 220, 221, 1500, 3308, 11025, 27562])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_read_sound_behind_digital_silence_begins_one_sample_before_it_ends(lead_in: int, subtype: str) -> None:
    sounds = render(random_settings(5, seed=4))
    for audio in sounds * (0.5 / np.abs(sounds).max(axis=1, keepdims=True)):
        alone = read_sound(encoded(audio, SAMPLE_RATE_HZ, subtype=subtype))
        later = read_sound(encoded(np.concatenate([np.zeros(lead_in), audio]), SAMPLE_RATE_HZ, subtype=subtype))
        attack = int((soundfile.read(io.BytesIO(encoded(audio, SAMPLE_RATE_HZ, subtype=subtype)))[0] != 0).argmax())
        assert alone.skipped_s == 0.0
        assert round(later.skipped_s * SAMPLE_RATE_HZ) == lead_in + attack - 1
        same = N_SAMPLES - attack + 1
        difference = later.audio[:same] - alone.audio[attack - 1 :]  # also of the offset, which is of 2 s
        np.testing.assert_allclose(difference - difference.mean(), 0.0, atol=1e-6)


@pytest.mark.parametrize("noise_db", [-70.0, -60.0])
def test_read_sound_noise_in_front_is_not_the_onset(slow_attacks: np.ndarray, noise_db: float) -> None:
    lead_in = np.zeros(3 * SAMPLE_RATE_HZ)
    for audio in slow_attacks:
        recording = np.concatenate([lead_in, audio])
        noise = np.random.default_rng(5).normal(size=len(recording)) * 0.5 * 10 ** (noise_db / 20)
        sound = read_sound(encoded(recording + noise, SAMPLE_RATE_HZ, subtype="FLOAT"))
        assert -0.025 < sound.skipped_s - 3.0 < 0.1


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 700), min_size=1, max_size=20))
def test_measure_levels_do_not_depend_on_the_blocks(seed: int, sizes: list[int]) -> None:
    samples = np.random.default_rng(seed).normal(size=(sum(sizes), 2))
    blocks = np.split(samples, np.cumsum(sizes)[:-1])
    np.testing.assert_allclose(measure_levels(iter(blocks)), measure_levels(iter([samples])), atol=1e-12)


def test_measure_levels_stops_a_minute_after_the_first_sound() -> None:
    taken = 0
    loud = np.sin(np.arange(SAMPLE_RATE_HZ))[:, None]

    def blocks(silent_s: int) -> Iterator[np.ndarray]:
        nonlocal taken
        for taken in range(1000):
            yield loud if taken >= silent_s else loud * 0

    for silent_s in (0, 100):
        levels = measure_levels(blocks(silent_s))
        assert silent_s + LOOK_S - 1 <= taken <= silent_s + LOOK_S + 1
        onset = find_onset(levels)
        assert onset is not None
        assert onset.sure_from == pytest.approx(silent_s * SAMPLE_RATE_HZ, abs=220)


@pytest.mark.parametrize("loudest", [0.0, 1e-3])
def test_measure_levels_without_a_sound_stops_after_ten_minutes(loudest: float) -> None:
    quiet = loudest * np.sin(np.arange(SAMPLE_RATE_HZ))[:, None]
    blocks = itertools.repeat(quiet, 1000)
    levels = measure_levels(blocks)
    assert len(list(blocks)) == pytest.approx(1000 - MAX_SILENCE_S, abs=1)
    assert (find_onset(levels) is None) == (loudest == 0.0)


@pytest.mark.parametrize("level", [0.0, 1e-6])
def test_find_onset_of_silence_is_none(level: float) -> None:
    assert find_onset(np.full((100, 2), level)) is None
    assert find_onset(np.empty((0, 2))) is None


@pytest.mark.parametrize("offset", [0.0, 0.3, -1 / 256])
def test_read_sound_of_silence_says_so(offset: float) -> None:
    with pytest.raises(SoundError, match=r"silent throughout, for 3\.00 s: there is nothing to match"):
        read_sound(encoded(np.full(3 * 44100, offset), 44100))


@pytest.mark.parametrize(("rate_hz", "channels", "limit_s"), [(1000, 1, 600), (192_000, 8, 75)])
def test_read_sound_of_a_small_file_with_long_silence_is_not_decoded_to_its_end(
    rate_hz: int, channels: int, limit_s: int
) -> None:
    bomb = encoded(np.zeros((rate_hz * (limit_s + 5), channels), np.int16), rate_hz, "FLAC")
    assert len(bomb) < 1_000_000
    with pytest.raises(SoundError, match=f"silent for more than {limit_s} s: there is nothing to match"):
        read_sound(bomb)
