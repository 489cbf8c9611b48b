"""Reading sounds of every container, rate, level and number of channels, and writing WAV."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from synthray.errors import SoundError
from synthray.synth.files.sound_file import Sound, read_sound, write_wav
from synthray.synth.instrument import SAMPLE_RATE_HZ
from synthray.synth.voice import render
from tests.synth.sound_files import encoded, sine
from tests.synth.sounds import plain_settings

# Largest difference between a sound and the same sound in a lossless file, relative to its peak: the rounding to the
# subtype's bits, or its own compression.
SUBTYPES = {
    ("WAV", "PCM_U8"): 0.02,
    ("WAV", "PCM_16"): 2e-4,
    ("WAV", "PCM_24"): 1e-6,
    ("WAV", "PCM_32"): 1e-6,
    ("WAV", "FLOAT"): 1e-6,
    ("WAV", "DOUBLE"): 1e-6,
    ("WAV", "ULAW"): 0.05,
    ("WAV", "ALAW"): 0.05,
    ("WAV", "IMA_ADPCM"): 0.05,
    ("WAV", "MS_ADPCM"): 0.05,
    ("WAVEX", "PCM_24"): 1e-6,
    ("FLAC", "PCM_S8"): 0.02,
    ("FLAC", "PCM_16"): 2e-4,
    ("FLAC", "PCM_24"): 1e-6,
    ("AIFF", "PCM_S8"): 0.02,
    ("AIFF", "PCM_16"): 2e-4,
    ("AIFF", "FLOAT"): 1e-6,
    ("CAF", "ALAC_16"): 2e-4,
    ("AU", "PCM_16"): 2e-4,
    ("W64", "PCM_24"): 1e-6,
    ("RF64", "PCM_16"): 2e-4,
    ("VOC", "PCM_16"): 2e-4,
    ("OGG", "VORBIS"): 0.15,
    ("MP3", "MPEG_LAYER_III"): 0.15,
}
RATES_HZ = [4000, 8000, 11025, 16000, 22050, 32000, 44100, 47953, 48000, 88200, 96000, 192_000]


@pytest.fixture(scope="module")
def tone() -> np.ndarray:
    """Return a preset with little above 1.5 kHz, which passes through 4 kHz, float64 (22050,), peak 0.5."""
    audio = render(plain_settings(filter_cutoff=400.0, oscillator_1_waveform="triangle")[None])[0].astype(np.float64)
    audio -= audio.mean()
    return np.asarray(audio * (0.5 / np.abs(audio).max()))


@pytest.mark.parametrize(("form", "subtype"), SUBTYPES, ids=str)
def test_read_sound_is_the_same_from_every_container(tone: np.ndarray, form: str, subtype: str) -> None:
    audio = read_sound(encoded(tone, SAMPLE_RATE_HZ, form, subtype))
    assert audio.length_s == pytest.approx(2.0, abs=0.15)
    np.testing.assert_allclose(audio.audio[220:-220], _aligned(tone, audio)[220:-220], atol=SUBTYPES[form, subtype] / 2)


def _aligned(tone: np.ndarray, sound: Sound) -> np.ndarray:
    """Return the tone, moved to where it fits a sound best within 30 ms: coders delay it."""
    padded = np.pad(tone, 400)
    errors = [np.abs(padded[start : start + len(tone)] - sound.audio).mean() for start in range(801)]
    best = int(np.argmin(errors))
    return np.asarray(padded[best : best + len(tone)])


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_read_sound_is_the_same_at_every_rate(rate_hz: int) -> None:
    tones = [hertz for hertz in (55.0, 220.0, 1733.0, 3501.0, 5399.0) if hertz < 0.44 * rate_hz]

    def chord(rate_hz: int) -> np.ndarray:
        time_s = np.arange(2 * rate_hz) / rate_hz
        waves = np.sum([np.sin(2 * np.pi * hertz * time_s + hertz) for hertz in tones], axis=0)
        return np.asarray(0.1 * waves * np.sin(np.pi * time_s / 2))

    sound = read_sound(encoded(chord(rate_hz), rate_hz, subtype="DOUBLE"))
    expected = chord(SAMPLE_RATE_HZ)
    assert sound.skipped_s == 0.0
    np.testing.assert_allclose(sound.audio, expected, atol=1e-4)
    assert sound.length_s == pytest.approx(2.0, abs=1e-4)


def test_read_sound_above_nyquist_is_removed() -> None:
    with_whistle = sine(440.0) + sine(7000.0)
    expected = read_sound(encoded(sine(440.0), subtype="DOUBLE")).audio[1000:-1000]
    np.testing.assert_allclose(
        read_sound(encoded(with_whistle, subtype="DOUBLE")).audio[1000:-1000], expected, atol=1e-5
    )


@pytest.mark.parametrize("gain_db", [-60.0, -40.0, -20.0, 0.0, 20.0, 90.0])
def test_read_sound_onset_does_not_depend_on_the_level(tone: np.ndarray, gain_db: float) -> None:
    gain, recording = 10 ** (gain_db / 20), np.concatenate([np.zeros(3000), tone])
    expected = read_sound(encoded(recording, SAMPLE_RATE_HZ, subtype="DOUBLE"))
    sound = read_sound(encoded(recording * gain, SAMPLE_RATE_HZ, subtype="DOUBLE"))
    assert sound.skipped_s == expected.skipped_s
    np.testing.assert_allclose(sound.audio / gain, expected.audio, atol=1e-6)


NOISE = np.random.default_rng(1).normal(size=22050) * 1e-4
CHANNELS = {
    "equal": (1.0, 1.0),
    "right louder": (0.5, 1.0),
    "opposite": (1.0, -1.0),
    "nearly opposite": (1.0, -0.999),
    "wide": (1.0, -0.6),
    "left only": (1.0, 0.0),
    "right only": (0.0, 1.0),
    "one of six": (0.0, 0.0, 0.0, 0.0, 0.7, 0.0),
    "opposite in four": (0.5, -0.5, 0.5, -0.5),
    "32 equal": (0.3,) * 32,
}


@pytest.mark.parametrize("gains", CHANNELS.values(), ids=CHANNELS)
def test_read_sound_of_channels_that_differ_in_gain_is_the_mono_sound(
    tone: np.ndarray, gains: tuple[float, ...]
) -> None:
    mono = read_sound(encoded(tone, SAMPLE_RATE_HZ, subtype="DOUBLE"))
    wide = read_sound(encoded(np.outer(tone, gains), SAMPLE_RATE_HZ, subtype="DOUBLE"))
    assert wide.skipped_s == mono.skipped_s
    scale = np.dot(wide.audio, mono.audio) / np.dot(mono.audio, mono.audio)
    assert 0.25 < abs(scale) <= 1.0
    np.testing.assert_allclose(wide.audio / scale, mono.audio, atol=1e-6)


def test_read_sound_of_a_wide_stereo_file_is_not_its_rounding_noise(tone: np.ndarray) -> None:
    stereo = np.stack([tone + NOISE, -tone + NOISE], axis=1)
    sound = read_sound(encoded(stereo, SAMPLE_RATE_HZ, subtype="PCM_16"))
    sign = np.sign(np.dot(sound.audio, tone))  # either channel is good
    np.testing.assert_allclose(sound.audio * sign, tone, atol=1e-3)


def test_read_sound_different_channels_are_averaged() -> None:
    left, right = sine(300.0, 11025), sine(700.0, 11025)
    sound = read_sound(encoded(np.stack([left, right], axis=1), 11025, subtype="DOUBLE"))
    np.testing.assert_allclose(sound.audio, (left + right) / 2, atol=1e-4)


@pytest.mark.parametrize("rate_hz", [11025, 44100])
@pytest.mark.parametrize("lead_in_s", [0.0, 0.4])
@pytest.mark.parametrize("offset", [-0.3, 0.004, 0.5])
def test_read_sound_offset_is_removed(tone: np.ndarray, offset: float, lead_in_s: float, rate_hz: int) -> None:
    recording = np.concatenate([np.zeros(round(lead_in_s * SAMPLE_RATE_HZ)), tone])
    expected = read_sound(encoded(recording, rate_hz, subtype="DOUBLE"))
    sound = read_sound(encoded(recording + offset, rate_hz, subtype="DOUBLE"))
    assert sound.skipped_s == pytest.approx(expected.skipped_s, abs=1e-9)
    np.testing.assert_allclose(sound.audio, expected.audio, atol=1e-5)


def test_read_sound_short_and_long_files_state_what_was_used() -> None:
    short = read_sound(encoded(sine(440.0, 11025, 0.25), 11025))
    assert short.to_json() == {"skipped_s": 0.0, "used_s": 0.25, "length_s": 0.25}
    assert not short.is_cut
    assert not short.audio[2757:].any()
    recording = np.concatenate([np.zeros(5733), sine(440.0, 11025, 6.58)])
    long = read_sound(encoded(recording, 11025))
    assert long.to_json() == {"skipped_s": pytest.approx(0.52, abs=0.002), "used_s": 2.0, "length_s": 7.1}
    assert long.is_cut


@pytest.mark.parametrize(("seconds", "is_cut"), [(2.0, False), (2.04, False), (2.06, True)])
def test_sound_is_cut_from_50_ms_on(seconds: float, is_cut: bool) -> None:
    assert read_sound(encoded(sine(440.0, 11025, seconds), 11025)).is_cut == is_cut


def test_read_sound_of_hours_is_not_decoded_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = np.tile(sine(440.0, 4000, 1.0), 2 * 3600).astype(np.float32)
    raw = encoded(hours, 4000, subtype="PCM_U8")
    monkeypatch.setattr("synthray.synth.files.decoding.BLOCK_FRAMES", 4000)
    blocks = []
    monkeypatch.setattr(
        "synthray.synth.files.decoding.SoundDecoder._check", lambda self, block: blocks.append(block.shape[0])
    )
    sound = read_sound(raw)
    assert sound.to_json() == {"skipped_s": 0.0, "used_s": 2.0, "length_s": None}
    assert sound.is_cut
    assert max(blocks) <= 4000
    assert sum(blocks) < 70 * 4000


def test_read_sound_after_minutes_of_silence_needs_little_memory() -> None:
    raw = encoded(np.concatenate([np.zeros(300 * 4000), sine(440.0, 4000)]), 4000)
    read_sound(encoded(sine(440.0, 4000), 4000))  # loads what is loaded once
    tracemalloc.start()
    try:
        sound = read_sound(raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sound.skipped_s == pytest.approx(300.0, abs=0.01)
    assert peak < 8e6  # 5 minutes at 11025 Hz are 26 MB


def test_read_sound_path_and_bytes_are_equal(tmp_path: Path) -> None:
    data, path = encoded(sine(440.0, 22050), 22050), tmp_path / "tone.wav"
    path.write_bytes(data)
    for source in (path, str(path)):
        np.testing.assert_array_equal(read_sound(source).audio, read_sound(data).audio)


@pytest.mark.parametrize("stray", ["._", ".AppleDouble/x"])
def test_read_sound_of_an_mp3_does_not_depend_on_the_working_directory(
    stray: str, tone: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libsndfile takes such files for resource forks of a sound without a path."""
    monkeypatch.chdir(tmp_path)
    mp3 = encoded(tone, SAMPLE_RATE_HZ, form="MP3", subtype="MPEG_LAYER_III")
    expected = read_sound(mp3).audio
    (tmp_path / stray).parent.mkdir(exist_ok=True)
    (tmp_path / stray).write_bytes(b"x")
    np.testing.assert_array_equal(read_sound(mp3).audio, expected)
    with pytest.raises(SoundError, match="its content is not valid"):
        read_sound(mp3[:100])


@pytest.mark.parametrize(
    ("samples", "rate_hz", "message"),
    [
        (np.zeros(0), 11025, "the sound has no samples"),
        (np.array([0.5]), 11025, "the sound is too short: it lasts 0.1 ms"),
        (np.array([0.1, np.nan]), 11025, "not finite numbers: sample 1 of channel 0 is nan"),
        (np.full(9000, np.inf), 11025, "not finite numbers: sample 0 of channel 0 is inf"),
        (np.full((9, 2), 1e300), 11025, "not finite numbers: sample 0 of channel 0 is 1e[+]300"),
        (np.zeros((9, 65)), 48000, "has 65 channels at 48000 Hz, more than 3072000 samples a second"),
        (sine(2.0, 999), 999, "sample rate of 999 Hz. It must be from 1000 to 768000 Hz"),
    ],
)
def test_read_sound_unusable_samples_give_the_reason(samples: np.ndarray, rate_hz: int, message: str) -> None:
    with pytest.raises(SoundError, match=message):
        read_sound(encoded(samples, rate_hz, subtype="DOUBLE"))


@pytest.mark.parametrize(("channels", "rate_hz"), [(64, 48_000), (8, 384_000), (2, 768_000), (1, 768_000)])
def test_read_sound_with_the_most_channels_of_a_rate_is_read(channels: int, rate_hz: int) -> None:
    samples = np.repeat(sine(440.0, rate_hz, 0.2)[:, None], channels, axis=1)
    assert read_sound(encoded(samples, rate_hz)).length_s == 0.2


def test_read_sound_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SoundError, match=r"gone\.wav cannot be read: No such file"):
        read_sound(tmp_path / "gone.wav")
    with pytest.raises(SoundError, match="cannot be read"):
        read_sound(tmp_path)


def test_write_wav_round_trip(tmp_path: Path) -> None:
    audio = sine(440.0, 11025).astype(np.float32)
    path, buffer = tmp_path / "out.wav", io.BytesIO()
    write_wav(path, audio)
    write_wav(buffer, audio)
    assert path.read_bytes() == buffer.getvalue()
    assert soundfile.info(path).subtype == "PCM_16"
    np.testing.assert_allclose(soundfile.read(path)[0], audio, atol=1 / 32768)
    np.testing.assert_allclose(read_sound(path).audio, audio, atol=1 / 16384)


def test_write_wav_clips_and_refuses_invalid_audio(tmp_path: Path) -> None:
    write_wav(tmp_path / "loud.wav", np.array([3.0, -3.0, 0.0]))
    np.testing.assert_allclose(soundfile.read(tmp_path / "loud.wav")[0], [1, -1, 0], atol=1e-4)
    with pytest.raises(SoundError, match="finite"):
        write_wav(tmp_path / "x.wav", np.array([np.nan]))
    with pytest.raises(SoundError, match="one channel"):
        write_wav(tmp_path / "x.wav", np.zeros((2, 2)))
    with pytest.raises(SoundError, match="cannot be written"):
        write_wav(tmp_path / "no" / "x.wav", np.zeros(2))
