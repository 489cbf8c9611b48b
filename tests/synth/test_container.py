"""Files whose headers lie, lack something or belong to something else."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthray.errors import SoundError
from synthray.synth.files.container import PartsFile
from synthray.synth.files.container_repair import mp3_frame_bytes
from synthray.synth.files.sound_file import read_sound
from tests.synth.sound_files import (
    RATE_HZ,
    aiff_of_sizes,
    chunk,
    encoded,
    flac_of_length,
    fmt,
    mp3_of_length,
    patched,
    pcm,
    sine,
    wav_of,
)

TONE = sine(440.0, seconds=1.0)
PCM = pcm(TONE)
DATA = chunk(b"data", PCM)
LIST = chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 6) + b"Lavf\0\0")
CAF = encoded(TONE, form="CAF", subtype="PCM_16")
AU = encoded(TONE, form="AU", subtype="PCM_16")
RF64_SIZES = chunk(b"ds64", struct.pack("<QQQI", 0, len(PCM), len(PCM) // 2, 0))

EXACT = {
    "wav 0": wav_of(fmt(), chunk(b"data", PCM, 0)),
    "wav 0 and LIST": wav_of(fmt(), LIST, chunk(b"data", PCM, 0), size=0),
    "wav ffffffff": wav_of(fmt(), chunk(b"data", PCM, 0xFFFFFFFF), size=0xFFFFFFFF),
    "wav 7fffffff": wav_of(fmt(), chunk(b"data", PCM, 0x7FFFFFFF - 36), size=0x7FFFFFFF),
    "wav too long": wav_of(fmt(), chunk(b"data", PCM, len(PCM) + 2)),
    "wav wrong RIFF size": wav_of(fmt(), DATA, size=1),
    "wav JUNK": wav_of(chunk(b"JUNK", bytes(28)), fmt(), LIST, DATA),
    "wav odd chunk": wav_of(fmt(), chunk(b"JUNK", b"12345"), DATA),
    "wav odd chunk without pad": wav_of(fmt(), chunk(b"JUNK", b"12345", pad=False), DATA),
    "wav data first": wav_of(DATA, LIST, fmt()),
    "wav wrong chunk": wav_of(fmt(), chunk(b"LIST", b"INFO", 0xFFFFFFFF), DATA),
    "wav tags behind": wav_of(fmt(), DATA, LIST, chunk(b"id3 ", b"ID3\x03\0\0\0\0\0\0")),
    "wav block size 0": wav_of(patched(fmt(), b"fmt ", 20, b"\0\0"), DATA),
    "wav wrong fact": wav_of(fmt(), chunk(b"fact", struct.pack("<I", 7)), DATA),
    "wav extensible": encoded(TONE, form="WAVEX", subtype="PCM_16"),
    "rifx": wav_of(fmt(order=">"), chunk(b"data", pcm(TONE, ">i2"), order=">"), magic=b"RIFX"),
    "rifx 0": wav_of(fmt(order=">"), chunk(b"data", pcm(TONE, ">i2"), 0, order=">"), magic=b"RIFX"),
    "rf64": wav_of(RF64_SIZES, fmt(), chunk(b"data", PCM, 0xFFFFFFFF), LIST, magic=b"RF64", size=0xFFFFFFFF),
    "rf64 0": wav_of(chunk(b"ds64", bytes(28)), fmt(), chunk(b"data", PCM, 0xFFFFFFFF), magic=b"RF64"),
    "bw64": wav_of(RF64_SIZES, fmt(), chunk(b"data", PCM, 0xFFFFFFFF), magic=b"BW64"),
    **{f"flac {frames}": flac_of_length(TONE, frames) for frames in (0, 1, 100, 10**9, 2**36 - 1)},
    "flac behind ID3": b"ID3\x04\0\0\0\0\x01\x00" + bytes(128) + encoded(TONE, form="FLAC"),
    **{
        f"aiff {frames} {size}": aiff_of_sizes(TONE, frames, size)
        for frames in (0, 10, 44100, 2**32 - 1)
        for size in (0, 8, 2**32 - 1)
    },
    **{f"caf {size}": patched(CAF, b"data", 4, struct.pack(">q", size)) for size in (-1, 0, 4, 10**12)},
    **{f"au {size}": patched(AU, b".snd", 8, struct.pack(">I", size)) for size in (0, 100, 10**9, 2**32 - 1)},
}
MP3 = {
    **{f"mp3 {frames}": mp3_of_length(TONE, frames) for frames in (0, 1, 10, 1000, 2**32 - 1)},
    "mp3 without Xing": mp3_of_length(TONE, None),
    "mp3 behind ID3": b"ID3\x03\0\0\0\0\x07\x76" + bytes(1014) + encoded(TONE, form="MP3"),
    "mp3 behind junk": bytes(1000) + encoded(TONE, form="MP3"),
    "mp3 in wav": wav_of(
        chunk(b"fmt ", struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE_HZ, 16000, 1, 0, 12, 1, 2, 417, 1, 1393)),
        chunk(b"data", encoded(TONE, form="MP3"), 0),
    ),
    "mp3 at 22050 Hz without Xing": mp3_of_length(sine(440.0, 22050, 1.0), None, 22050),
    "mp3 at 8000 Hz without Xing": mp3_of_length(sine(440.0, 8000, 1.0), None, 8000),
    "mp3 stereo without Xing": mp3_of_length(np.stack([TONE, TONE], axis=1), None),
}


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return read_sound(encoded(TONE, subtype="PCM_16")).audio


@pytest.mark.parametrize("raw", EXACT.values(), ids=EXACT)
def test_read_sound_lossless_file_with_a_wrong_header_is_read_to_its_end(raw: bytes, expected: np.ndarray) -> None:
    sound = read_sound(raw)
    assert sound.length_s == pytest.approx(1.0, abs=0.001)
    assert sound.skipped_s == 0.0
    np.testing.assert_allclose(sound.audio, expected, atol=2e-4)


@pytest.mark.parametrize("raw", MP3.values(), ids=MP3)
def test_read_sound_mp3_with_a_wrong_header_is_read_to_its_end(raw: bytes) -> None:
    sound = read_sound(raw)
    assert sound.length_s == pytest.approx(1.0, abs=0.3)  # 144 ms of an MP3 of 8 kHz are the coder's delay and padding
    assert sound.used_s == pytest.approx(1.0, abs=0.15)
    spectrum = np.abs(np.fft.rfft(sound.audio[:8820]))
    assert spectrum.argmax() * 11025 / 8820 == pytest.approx(440.0, abs=1.0)
    assert np.abs(sound.audio[2000:8000]).max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "AIFF", "OGG", "MP3", "CAF", "AU", "W64", "RF64", "VOC"])
def test_read_sound_file_that_was_cut_off_is_read_as_far_as_it_goes(form: str) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE_HZ)
    whole = encoded(noise, form=form, subtype=None if form in ("OGG", "MP3") else "PCM_16")
    if form == "FLAC":
        whole = encoded(noise, form=form)
    sound = read_sound(whole[: len(whole) // 2])
    assert sound.length_s is not None
    assert 0.8 < sound.length_s < 1.7  # an OGG ends with its last whole page
    assert sound.audio[: int(0.7 * 11025)].std() > 0.1


TEXTS = [b"<!DOCTYPE html><html>404</html>", b'{"error": "not found"}', b"  <?xml version='1.0'?>"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty: it has 0 bytes"),
        (b"not a sound at all" * 100, "its format is unknown"),
        (bytes(1000), "its format is unknown"),
        (b"RIFF", "cannot be read"),
        (wav_of(fmt()), "cannot be read"),
        (wav_of(DATA), "cannot be read"),
        (wav_of(fmt(), chunk(b"data", b"")), "has no samples"),
        (wav_of(fmt(), chunk(b"data", b""), LIST), "has no samples"),
        (wav_of(fmt(), chunk(b"data", b"\0")), "has no samples"),
        (aiff_of_sizes(np.zeros(0), 0, 8), "has no samples"),
        (encoded(TONE, form="FLAC")[:42], "has no samples|cannot be"),
        (encoded(TONE, form="OGG")[:4000], "has no samples|cannot be"),
        (wav_of(fmt(tag=0xFF), DATA), "cannot be read"),
        (b"\0\0\0\x20ftypM4A " + bytes(100), "MP4 or M4A file. Convert it"),
        (b"\0\0\0\x20ftypM4P " + bytes(100) + b"drms" + bytes(9), "it is encrypted"),
        (b"\xff\xf1\x50\x80" + bytes(100), "an AAC stream"),
        (b"\x1aE\xdf\xa3" + bytes(100), "a Matroska or WebM file"),
        (b"\x30\x26\xb2\x75" + bytes(100), "a Windows Media file"),
        (b"MThd\0\0\0\6", "a MIDI file, which has notes but no sound"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive"),
        (b"Salted__" + bytes(100), "encrypted"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        *((text, "it is text") for text in TEXTS),
    ],
)
def test_read_sound_unusable_file_gives_its_true_reason(raw: bytes, message: str) -> None:
    with pytest.raises(SoundError, match=message):
        read_sound(raw)


@given(
    parts=st.lists(st.binary(max_size=20), max_size=6),
    moves=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), max_size=8),
)
def test_parts_file_reads_like_one_file(parts: list[bytes], moves: list[tuple[int, int]]) -> None:
    file, oracle = PartsFile(list(parts)), io.BytesIO(b"".join(parts))
    assert file.seek(0, io.SEEK_END) == oracle.seek(0, io.SEEK_END)
    for position, count in moves:
        file.seek(position)
        oracle.seek(position)
        assert file.read(count) == oracle.read(count)
        assert file.tell() == oracle.tell()


@given(damage=st.lists(st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4))
def test_read_sound_damaged_header_is_read_or_refused(damage: list[tuple[int, bytes]]) -> None:
    for raw in (wav_of(fmt(), LIST, DATA[:4000]), CAF[:8000], AU[:4000], EXACT["aiff 0 0"][:4000], EXACT["flac 0"]):
        broken = bytearray(raw)
        for position, new in damage:
            broken[position : position + len(new)] = new
        try:
            sound = read_sound(bytes(broken))
        except SoundError:
            continue
        assert np.isfinite(sound.audio).all()
        assert sound.used_s > 0


def test_mp3_frame_bytes_walks_through_a_file() -> None:
    for rate_hz in (8000, 16000, 22050, 32000, 44100, 48000):
        mp3, position, frames = encoded(sine(440.0, rate_hz), rate_hz, "MP3"), 0, 0
        while position < len(mp3):
            size = mp3_frame_bytes(mp3[position : position + 4])
            assert size, (rate_hz, position)
            position, frames = position + size, frames + 1
        assert position == len(mp3)
        assert frames > 20
