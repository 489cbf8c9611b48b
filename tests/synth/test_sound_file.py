"""Reading and writing sound files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from synthray.errors import SoundError
from synthray.synth.sound_file import read_sound, write_wav


def encoded(samples: np.ndarray, rate_hz: int, form: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=form, subtype=subtype)
    return file.getvalue()


def sine(hertz: float, rate_hz: int, seconds: float = 2.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate_hz)) / rate_hz)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 44100, 48000, 96000, 47953])
def test_read_sound_any_rate_keeps_pitch_and_level(rate_hz: int) -> None:
    sound = read_sound(encoded(sine(500.0, rate_hz), rate_hz, subtype="FLOAT"))
    assert sound.shape == (22050,)
    assert sound.dtype == np.float32
    middle = slice(2000, 20000)
    expected = sine(500.0, 11025)
    tolerance = 2e-3 if rate_hz != 47953 else 0.05  # whose ratio is approximated, to one in a million
    np.testing.assert_allclose(sound[middle], expected[middle], atol=tolerance)


def test_read_sound_above_nyquist_is_removed() -> None:
    sound = read_sound(encoded(sine(7000.0, 44100), 44100, subtype="FLOAT"))
    assert np.abs(sound[1000:-1000]).max() < 0.005


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_read_sound_common_formats_are_read(form: str) -> None:
    sound = read_sound(encoded(sine(440.0, 44100), 44100, form))
    spectrum = np.abs(np.fft.rfft(sound))
    assert spectrum.argmax() / 2 == pytest.approx(440, abs=1)
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.05)


def test_read_sound_channels_are_averaged() -> None:
    left, right = sine(300.0, 11025), sine(700.0, 11025)
    sound = read_sound(encoded(np.stack([left, right], axis=1), 11025, subtype="FLOAT"))
    np.testing.assert_allclose(sound, (left + right) / 2, atol=1e-6)


def test_read_sound_is_padded_or_cut_to_2_s() -> None:
    short = read_sound(encoded(np.full(100, 0.25), 11025, subtype="FLOAT"))
    assert (short[:100] == 0.25).all()
    assert not short[100:].any()
    long = sine(440.0, 11025, seconds=30)
    np.testing.assert_allclose(read_sound(encoded(long, 11025, subtype="FLOAT")), long[:22050], atol=1e-6)


def test_read_sound_path_bytes_and_file_are_equal(tmp_path: Path) -> None:
    data = encoded(sine(440.0, 22050), 22050)
    path = tmp_path / "tone.wav"
    path.write_bytes(data)
    with path.open("rb") as file:
        sounds = [read_sound(path), read_sound(str(path)), read_sound(data), read_sound(file)]
    for sound in sounds:
        np.testing.assert_array_equal(sound, sounds[0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be read as a sound file"),
        (b"not a sound at all" * 100, "cannot be read as a sound file"),
        (encoded(np.zeros(0), 11025), "empty"),
        (encoded(np.full(100, np.nan), 11025, subtype="FLOAT"), "not finite"),
        (encoded(np.full(100, np.inf), 11025, subtype="FLOAT"), "not finite"),
        (encoded(np.zeros(100), 10), "sample rate of 10 Hz"),
        (encoded(np.zeros(1000 * 601), 1000, subtype="PCM_U8"), "lasts 601 s"),
    ],
)
def test_read_sound_invalid_file_gives_reason(data: bytes, message: str) -> None:
    with pytest.raises(SoundError, match=message):
        read_sound(data)


def test_read_sound_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SoundError, match=r"gone\.wav"):
        read_sound(tmp_path / "gone.wav")
    with pytest.raises(SoundError, match="cannot be read"):
        read_sound(tmp_path)


def test_read_sound_truncated_file_is_refused_or_finite() -> None:
    data = encoded(sine(440.0, 44100), 44100, "FLAC")
    for length in range(0, len(data), len(data) // 20):
        try:
            assert np.isfinite(read_sound(data[:length])).all()
        except SoundError:
            continue


def test_write_wav_round_trip(tmp_path: Path) -> None:
    audio = sine(440.0, 11025).astype(np.float32)
    path, buffer = tmp_path / "out.wav", io.BytesIO()
    write_wav(path, audio)
    write_wav(buffer, audio)
    assert path.read_bytes() == buffer.getvalue()
    assert soundfile.info(path).subtype == "PCM_16"
    np.testing.assert_allclose(read_sound(path), audio, atol=1 / 32768)


def test_write_wav_clips_and_refuses_invalid_audio(tmp_path: Path) -> None:
    write_wav(tmp_path / "loud.wav", np.array([3.0, -3.0, 0.0]))
    np.testing.assert_allclose(read_sound(tmp_path / "loud.wav")[:3], [1, -1, 0], atol=1e-4)
    with pytest.raises(SoundError, match="finite"):
        write_wav(tmp_path / "x.wav", np.array([np.nan]))
    with pytest.raises(SoundError, match="one channel"):
        write_wav(tmp_path / "x.wav", np.zeros((2, 2)))
    with pytest.raises(SoundError, match="cannot be written"):
        write_wav(tmp_path / "no" / "x.wav", np.zeros(2))
