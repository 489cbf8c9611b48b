"""Repair headers of sound files that state a wrong length, so that libsndfile reads all of the sound.

A recorder that was killed, or that wrote to a pipe, never completes its header. Each function takes a whole file and
returns the parts of a readable one. The bytes of the sound are not copied. ``container.py`` recognises formats.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

Parts = list[bytes | memoryview]

UNKNOWN_32 = 0xFFFFFFFF
MPEG_LAYER_3 = 0x0055
"""WAVE_FORMAT_MPEGLAYER3: the data chunk is an MP3 file."""


def repair_wav(raw: memoryview) -> Parts:
    """Return a WAV file (RIFF, RIFX, RF64 or BW64) of two chunks, ``fmt`` and ``data``, with their true sizes.

    A size of 0 with bytes behind it, and a size beyond the end of the file, both mean "to the end of the file".
    """
    order = ">" if bytes(raw[:4]) == b"RIFX" else "<"
    chunks = dict(_riff_chunks(raw, order))
    if b"fmt " not in chunks or b"data" not in chunks:
        return [raw]  # libsndfile names what is missing
    form, data = chunks[b"fmt "], chunks[b"data"]
    if len(form) >= 2 and struct.unpack_from(f"{order}H", form)[0] == MPEG_LAYER_3:
        return repair_mp3(data)
    sizes = [min(size, UNKNOWN_32) for size in (20 + len(form) + len(data), len(form), len(data))]
    head = (b"RIFX" if order == ">" else b"RIFF") + struct.pack(f"{order}I", sizes[0]) + b"WAVE"
    fmt = b"fmt " + struct.pack(f"{order}I", sizes[1]) + bytes(form)
    return [head + fmt + b"data" + struct.pack(f"{order}I", sizes[2]), data]


def _riff_chunks(raw: memoryview, order: str) -> Iterator[tuple[bytes, memoryview]]:
    """Yield names and contents of the chunks up to ``data``, and those after it if the size of ``data`` is right."""
    position, size_64, seen = 12, 0, set()
    while position + 8 <= len(raw):
        name, size = struct.unpack_from(f"{order}4sI", raw, position)
        start = position + 8
        left = len(raw) - start
        if name == b"data":
            size = size_64 if size == UNKNOWN_32 and size_64 else size
            if size > left or (size == 0 and not _only_chunks(raw[start:], order)):
                size = left
        elif size > left:  # not a chunk, or a chunk with a wrong size: look for the sound behind it
            found = -1 if b"data" in seen else bytes(raw[start:]).find(b"data")
            if found < 0:
                return
            position = start + found
            continue
        if name == b"ds64" and size >= 16:
            (size_64,) = struct.unpack_from(f"{order}Q", raw, start + 8)
        if name not in seen:
            yield name, raw[start : start + size]
        seen.add(name)
        position = start + size + size % 2
        # Some writers leave out the pad byte behind an odd chunk.
        if size % 2 and not _is_name(raw[position : position + 4]) and _is_name(raw[position - 1 : position + 3]):
            position -= 1


def _only_chunks(raw: memoryview, order: str) -> bool:
    """Return whether the rest of a file consists of whole chunks; a sound of size 0 before it is then really empty."""
    position = 0
    while position + 8 <= len(raw) and _is_name(raw[position : position + 4]):
        (size,) = struct.unpack_from(f"{order}I", raw, position + 4)
        position += 8 + size + size % 2
    return position >= len(raw)


def _is_name(name: memoryview) -> bool:
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)


def repair_aiff(raw: memoryview) -> Parts:
    """Return an AIFF or AIFC file; a sound chunk that is empty or too long is changed to end with the file.

    libsndfile counts the frames itself, from the size of the sound chunk.
    """
    position = 12
    while position + 8 <= len(raw):
        name, size = struct.unpack_from(">4sI", raw, position)
        left = len(raw) - position - 8
        if name == b"SSND" and (size > left or (size <= 8 and not _only_chunks(raw[position + 8 + size :], ">"))):
            return [raw[: position + 4], struct.pack(">I", min(left, UNKNOWN_32)), raw[position + 8 :]]
        if size > left:
            break
        position += 8 + size + size % 2
    return [raw]


def repair_caf(raw: memoryview) -> Parts:
    """Return a CAF file; a data chunk that has no size or is too long is changed to end with the file."""
    position = 8
    while position + 12 <= len(raw):
        name, size = struct.unpack_from(">4sq", raw, position)
        left = len(raw) - position - 12
        if name == b"data" and not 4 < size <= left:
            return [raw[: position + 4], struct.pack(">q", left), raw[position + 12 :]]
        if not 0 <= size <= left:
            break
        position += 12 + size
    return [raw]


def repair_au(raw: memoryview) -> Parts:
    """Return an AU file of unknown length, which libsndfile reads to the end of the file."""
    return [raw[:8], struct.pack(">I", UNKNOWN_32), raw[12:]] if len(raw) >= 24 else [raw]


def repair_flac(raw: memoryview) -> Parts:
    """Return a FLAC file of unknown length, without a checksum of its samples.

    STREAMINFO begins at byte 8. Its count of samples has 36 bits and ends with byte 25. A 16-byte MD5 follows (RFC
    9639, 8.2).
    """
    if len(raw) < 42:
        return [raw]
    return [raw[:21], bytes([raw[21] & 0xF0]), bytes(4), bytes(16), raw[42:]]


def repair_mp3(raw: memoryview) -> Parts:
    """Return an MP3 file with a first frame that states more frames than the file can have.

    Without a Xing frame libsndfile guesses the length from the bit rate of the first frame, and stops there. Layers I
    and II are not repaired, because their bit rate is constant.
    """
    header = bytes(raw[:4])
    frame_bytes = mp3_frame_bytes(header)
    if not frame_bytes or header[1] >> 1 & 3 != 1:
        return [raw]
    tag = 4 + _side_bytes(header)
    if bytes(raw[tag : tag + 4]) in (b"Xing", b"Info"):
        (flags,) = struct.unpack_from(">I", raw, tag + 4) if len(raw) >= tag + 16 else (0,)
        if flags & 3 == 3:  # both counts are present, and the encoder's delay follows them
            return [raw[: tag + 8], struct.pack(">II", 0x7FFFFFFF, len(raw)), raw[tag + 16 :]]
        raw = raw[frame_bytes:]
    return [_xing_frame(header), raw]


def _xing_frame(header: bytes) -> bytes:
    """Return a silent Layer III frame like that of ``header``, with a Xing tag, without CRC, at 64 or 40 kbit/s."""
    header = bytes([header[0], header[1] | 1, header[2] & 0x0C | 0x50, header[3]])
    frame = header + bytes(_side_bytes(header)) + b"Xing" + struct.pack(">II", 1, 0x7FFFFFFF)
    return frame + bytes(mp3_frame_bytes(header) - len(frame))


def _side_bytes(header: bytes) -> int:
    """Return the length of a Layer III frame's side information."""
    is_mono = header[3] >> 6 == 3
    if header[1] >> 3 & 3 == 3:  # MPEG 1
        return 17 if is_mono else 32
    return 9 if is_mono else 17


# Bit rates in kbit/s by index. V1 is MPEG 1, V2 is MPEG 2 and 2.5. L1, L2 and L3 are the layers.
_V1_L1 = (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448)
_V1_L2 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_V1_L3 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_V2_L1 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
_V2_L23 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def mp3_frame_bytes(header: bytes) -> int:
    """Return the bytes of the MPEG audio frame with this 4-byte header; 0 if it is invalid (ISO 11172-3, 2.4.2.3)."""
    if len(header) < 4 or header[0] != 0xFF or header[1] >> 5 != 7:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bit_rate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or bit_rate in (0, 15) or rate == 3:
        return 0
    is_v1 = version == 3
    kilobits = ((_V1_L1, _V1_L2, _V1_L3) if is_v1 else (_V2_L1, _V2_L23, _V2_L23))[layer - 1][bit_rate]
    rate_hz = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    if layer == 1:
        return (12_000 * kilobits // rate_hz + padding) * 4
    return (72_000 if layer == 3 and not is_v1 else 144_000) * kilobits // rate_hz + padding
