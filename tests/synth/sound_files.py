"""Sound files for tests: encoded samples, and headers that state something else than what follows."""

from __future__ import annotations

import io
import struct

import numpy as np
import soundfile

from synthray.synth.files.container_repair import mp3_frame_bytes

RATE_HZ = 44100


def encoded(samples: np.ndarray, rate_hz: int = RATE_HZ, form: str = "WAV", subtype: str | None = None) -> bytes:
    """Return a sound file of samples (frames,) or (frames, channels)."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=form, subtype=subtype)
    return file.getvalue()


def sine(hertz: float, rate_hz: int = RATE_HZ, seconds: float = 2.0) -> np.ndarray:
    """Return a sine of amplitude 0.5."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate_hz)) / rate_hz)


def chunk(name: bytes, content: bytes, size: int | None = None, pad: bool = True, order: str = "<") -> bytes:
    """Return a RIFF chunk, whose size may be wrong and whose pad byte may be missing."""
    stated = len(content) if size is None else size
    return name + struct.pack(f"{order}I", stated) + content + b"\0" * (len(content) % 2 and pad)


def wav_of(*chunks: bytes, magic: bytes = b"RIFF", size: int = 36) -> bytes:
    """Return a WAV file of chunks."""
    return magic + struct.pack(">I" if magic == b"RIFX" else "<I", size) + b"WAVE" + b"".join(chunks)


def fmt(tag: int = 1, bits: int = 16, order: str = "<", rate_hz: int = RATE_HZ) -> bytes:
    """Return the ``fmt`` chunk of one channel."""
    content = struct.pack(f"{order}HHIIHH", tag, 1, rate_hz, rate_hz * bits // 8, bits // 8, bits)
    return chunk(b"fmt ", content, order=order)


def pcm(samples: np.ndarray, dtype: str = "<i2") -> bytes:
    """Return samples as 16-bit numbers."""
    return np.round(samples * 32767).astype(dtype).tobytes()


def flac_of_length(samples: np.ndarray, frames: int) -> bytes:
    """Return a FLAC file whose header states ``frames``."""
    flac = bytearray(encoded(samples, form="FLAC", subtype="PCM_16"))
    bits = int.from_bytes(flac[18:26], "big")
    flac[18:26] = (bits >> 36 << 36 | frames).to_bytes(8, "big")
    return bytes(flac)


def mp3_of_length(samples: np.ndarray, frames: int | None, rate_hz: int = RATE_HZ) -> bytes:
    """Return an MP3 file whose Xing frame states ``frames``, or has only its name; None leaves the frame out."""
    mp3 = bytearray(encoded(samples, rate_hz, "MP3"))
    tag = max(mp3.find(b"Xing", 0, 64), mp3.find(b"Info", 0, 64))
    if frames is None:
        return bytes(mp3[mp3_frame_bytes(bytes(mp3[:4])) :])
    mp3[tag + 8 : tag + 12] = struct.pack(">I", frames)
    return bytes(mp3)


def aiff_of_sizes(samples: np.ndarray, frames: int, sound_bytes: int) -> bytes:
    """Return an AIFF file whose header states other numbers."""
    aiff = bytearray(encoded(samples, form="AIFF", subtype="PCM_16"))
    common, sound = aiff.find(b"COMM"), aiff.find(b"SSND")
    aiff[common + 10 : common + 14] = struct.pack(">I", frames)
    aiff[sound + 4 : sound + 8] = struct.pack(">I", sound_bytes)
    return bytes(aiff)


def patched(raw: bytes, marker: bytes, skip: int, new: bytes) -> bytes:
    """Return a file with other bytes ``skip`` bytes behind the first ``marker``."""
    start = raw.index(marker) + skip
    return raw[:start] + new + raw[start + len(new) :]
