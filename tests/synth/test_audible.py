"""Which parameters can be heard."""

from __future__ import annotations

import numpy as np
import pytest

from synthray.errors import SoundError
from synthray.synth.audible import audible, why_inaudible, with_inaudible_defaults
from synthray.synth.instrument import INSTRUMENT
from tests.synth.sounds import plain_settings, random_settings


def test_audible_has_a_column_for_each_learned_parameter() -> None:
    heard = audible(random_settings(100))
    assert heard.shape == (100, len(INSTRUMENT.learned))
    assert heard.dtype == np.bool_


def test_audible_of_a_sound_does_not_depend_on_the_others() -> None:
    settings = random_settings(100)
    np.testing.assert_array_equal(audible(settings)[40:43], audible(settings[40:43]))


def test_why_inaudible_names_what_is_not_audible() -> None:
    settings = random_settings(100)
    for row, heard in zip(settings, audible(settings), strict=True):
        names = [p.name for p, h in zip(INSTRUMENT.learned, heard, strict=True) if not h]
        assert list(why_inaudible(row)) == names


def test_why_inaudible_gives_a_reason() -> None:
    assert why_inaudible(plain_settings())["oscillator_1_pulse_width"] == "oscillator 1 is not a square"


def test_with_inaudible_defaults_changes_inaudible_settings_only() -> None:
    settings = random_settings(200)
    neutral = with_inaudible_defaults(settings)
    learned = [INSTRUMENT.index[p.name] for p in INSTRUMENT.learned]
    heard = audible(settings)
    np.testing.assert_array_equal(neutral[:, learned][heard], settings[:, learned][heard])
    assert len(np.unique(neutral[:, learned[3]][~heard[:, 3]])) == 1
    others = np.setdiff1d(np.arange(len(INSTRUMENT)), learned)
    np.testing.assert_array_equal(neutral[:, others], settings[:, others])


def test_audible_another_shape_is_refused() -> None:
    with pytest.raises(SoundError, match=r"\(38,\)"):
        audible(np.zeros(38))
