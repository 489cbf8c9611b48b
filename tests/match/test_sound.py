"""Sounds that can be matched, and their level."""

import numpy as np
import pytest

from synthray.errors import SoundError
from synthray.match.sound import normalize_level, require_sound


@pytest.mark.parametrize("bad", [np.zeros(100, np.float32), np.full(22050, np.nan, np.float32)])
def test_require_sound_of_another_length_or_not_finite_raises_sound_error(bad):
    with pytest.raises(SoundError, match="the sound has shape"):
        require_sound(bad)


@pytest.mark.parametrize("gain_db", [-3.0, 0.0, 40.0])
def test_normalize_level_is_the_same_for_all_loud_sounds(gain_db):
    tone = 0.9 * np.sin(np.linspace(0, 2000, 22050)).astype(np.float32)
    scaled = normalize_level(tone * np.float32(10 ** (gain_db / 20)))
    np.testing.assert_allclose(scaled, normalize_level(tone), atol=1e-6)
    assert np.sqrt(np.mean(scaled**2)) == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("level_db", [-21.0, -55.0])
def test_normalize_level_keeps_levels_of_the_instrument(level_db):
    tone = np.sqrt(2) * 10 ** (level_db / 20) * np.sin(np.linspace(0, 2000, 22050)).astype(np.float32)
    np.testing.assert_allclose(normalize_level(tone), tone, rtol=1e-5)


def test_normalize_level_of_silence_raises_sound_error():
    with pytest.raises(SoundError, match="the sound is silent in its first 2 s"):
        normalize_level(np.zeros(22050, np.float32))
