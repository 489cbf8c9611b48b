"""Recognise sound files by their first bytes, and name other kinds of files in errors.

Wrong headers are repaired in ``container_repair.py``, samples are decoded in ``decoding.py``.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from synthray.errors import SoundError
from synthray.synth.files.container_repair import (
    Parts,
    mp3_frame_bytes,
    repair_aiff,
    repair_au,
    repair_caf,
    repair_flac,
    repair_mp3,
    repair_wav,
)

REPAIRS = {
    b"RIFF": repair_wav,
    b"RIFX": repair_wav,
    b"RF64": repair_wav,
    b"BW64": repair_wav,
    b"FORM": repair_aiff,
    b"caff": repair_caf,
    b".snd": repair_au,
    b"fLaC": repair_flac,
}

# Files that players may open and libsndfile cannot, and files that are often taken for sounds.
CONVERT = "Convert it to WAV, FLAC, OGG or MP3."
FOREIGN = {
    b"\x30\x26\xb2\x75": f"a Windows Media file (WMA). {CONVERT}",
    b"\x1aE\xdf\xa3": f"a Matroska or WebM file. {CONVERT}",
    b"\xff\xf1": f"an AAC stream. {CONVERT}",
    b"\xff\xf9": f"an AAC stream. {CONVERT}",
    b"ADIF": f"an AAC file. {CONVERT}",
    b"\x0b\x77": f"an AC-3 stream. {CONVERT}",
    b"#!AMR": f"an AMR file. {CONVERT}",
    b"wvpk": f"a WavPack file. {CONVERT}",
    b"MAC ": f"a Monkey's Audio file. {CONVERT}",
    b"DSD ": f"a DSD file. {CONVERT}",
    b"FRM8": f"a DSD file. {CONVERT}",
    b"FLV": f"a Flash video. {CONVERT}",
    b"MThd": "a MIDI file, which has notes but no sound",
    b"PK\x03\x04": "a ZIP archive. Unpack it.",
    b"\x1f\x8b": "a gzip archive. Unpack it.",
    b"Rar!": "a RAR archive. Unpack it.",
    b"7z\xbc\xaf": "a 7-Zip archive. Unpack it.",
    b"Salted__": "encrypted (OpenSSL). Decrypt it.",
    b"age-encryption.org": "encrypted (age). Decrypt it.",
    b"-----BEGIN PGP": "encrypted (PGP). Decrypt it.",
    b"version https://git-lfs": "a Git LFS pointer to a file that was not downloaded",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
}
MP3_SEARCH_BYTES = 64 * 1024


class PartsFile(io.RawIOBase):
    """A file that consists of parts in memory, without a copy of them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = [memoryview(part) for part in parts if len(part)]
        self._ends = list(accumulate(len(part) for part in self._parts))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        size = self._ends[-1] if self._ends else 0
        self._position = max(offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: size}[whence], 0)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's WriteableBuffer
        target, count = memoryview(buffer).cast("B"), 0
        index = bisect_right(self._ends, self._position)
        while index < len(self._parts) and count < len(target):
            part = self._parts[index]
            start = self._position - (self._ends[index] - len(part))
            piece = part[start : start + len(target) - count]
            target[count : count + len(piece)] = piece
            self._position, count, index = self._position + len(piece), count + len(piece), index + 1
        return count


def readable_forms(raw: bytes | memoryview, name: str) -> Iterator[PartsFile]:
    """Yield a sound file in the forms that libsndfile may be able to read, the likeliest first.

    Each is read to its end, whatever its header says.

    Args:
        raw: the whole file.
        name: of the file, for messages.

    Raises:
        SoundError: the file is empty, or of a format that cannot be read.
    """
    if not len(raw):
        raise SoundError(f"{name} is empty: it has 0 bytes")
    sound = _after_id3(memoryview(raw))
    magic = bytes(sound[:4])
    if what := _foreign(bytes(sound[:64]), sound):
        raise SoundError(f"{name} is not a sound file that can be read: it is {what}")
    repair = repair_mp3 if mp3_frame_bytes(magic) else REPAIRS.get(magic)
    yield PartsFile(repair(sound) if repair else [sound])
    if not repair and (start := _mp3_start(sound)):
        yield PartsFile(repair_mp3(sound[start:]))


def is_recognised(raw: bytes | memoryview) -> bool:
    """Return whether a file begins like one of the usual sound files."""
    magic = bytes(_after_id3(memoryview(raw))[:4])
    return magic in REPAIRS or magic == b"OggS" or mp3_frame_bytes(magic) > 0


def _after_id3(raw: memoryview) -> memoryview:
    """Return a file without the ID3v2 tags in front of it; tag sizes have 7 bits in each byte (id3.org, 3.1)."""
    while bytes(raw[:3]) == b"ID3" and len(raw) > 10:
        size = 0
        for byte in raw[6:10]:
            size = size << 7 | byte & 0x7F
        raw = raw[10 + size + (10 if raw[5] & 0x10 else 0) :]
    return raw


def _foreign(head: bytes, raw: memoryview) -> str:
    """Return the kind of a file if libsndfile cannot read it, else an empty string."""
    if head[4:8] == b"ftyp":
        protected = any(box in bytes(raw[: 1 << 20]) for box in (b"drms", b"enca", b"sinf"))
        return "encrypted (MP4)" if protected else f"an MP4 or M4A file. {CONVERT}"
    for magic, what in FOREIGN.items():
        if head.startswith(magic):
            return what
    if head.strip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<svg", b"{", b"[")):
        return "text (HTML, XML or JSON)"
    return ""


def _mp3_start(raw: memoryview) -> int:
    """Return the position of the first MP3 frame behind bytes of another kind, or 0 if there is none."""
    head = bytes(raw[:MP3_SEARCH_BYTES])
    start = head.find(b"\xff")
    while start >= 0:
        frame_bytes = mp3_frame_bytes(head[start : start + 4])
        # Require two frames of the same kind in a row, because any data may contain the bytes of one header.
        following = head[start + frame_bytes : start + frame_bytes + 4]
        if frame_bytes and mp3_frame_bytes(following) and following[1] == head[start + 1]:
            return start
        start = head.find(b"\xff", start + 1)
    return 0
