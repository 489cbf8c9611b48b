"""Pictures of examples. Which examples are shown is decided in ``readme.py``."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

# From dark violet to pale yellow. Brightness only rises, so the colours work in greyscale and for the colour-blind.
_RAMP = np.array([
    (5, 4, 16), (28, 16, 68), (79, 18, 123), (129, 37, 129), (181, 54, 122),
    (229, 80, 100), (251, 135, 97), (254, 194, 135), (252, 253, 191),
], np.float64)  # fmt: skip
PALETTE = np.stack(
    [np.interp(np.linspace(0, len(_RAMP) - 1, 256), np.arange(len(_RAMP)), _RAMP[:, c]) for c in range(3)], axis=1
)
"""Colours from silent to loud, RGB in [0, 255], float64 (256, 3)."""
_DYNAMICS_DB = 70.0

_COLUMNS = 4
_TILE_WIDTH, _TILE_HEIGHT = 240, 200  # pixels
_GAP, _CAPTION_HEIGHT, _CAPTION_SIZE = 16, 36, 15
_PAPER, _INK = (18, 17, 26), (214, 210, 226)


def contact_sheet(features: np.ndarray, captions: Sequence[str]) -> bytes:
    """Return a PNG of log-magnitude spectrograms with captions.

    Time runs to the right, frequency upwards. The loudest bin of each example has the brightest colour. Bins that
    are at least 70 dB quieter have the darkest.

    Args:
        features: float magnitudes ``(examples, frames, bins)``; at least one example.
        captions: one text for each example.
    """
    from PIL import Image, ImageDraw, ImageFont

    columns = min(_COLUMNS, len(features))
    rows = -(-len(features) // columns)
    step_x, step_y = _TILE_WIDTH + _GAP, _TILE_HEIGHT + _CAPTION_HEIGHT
    sheet = Image.new("RGB", (_GAP + columns * step_x, _GAP + rows * step_y), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_CAPTION_SIZE)
    for number, (example, caption) in enumerate(zip(features, captions, strict=True)):
        x, y = _GAP + number % columns * step_x, _GAP + number // columns * step_y
        tile = Image.fromarray(_brightness(example)).resize((_TILE_WIDTH, _TILE_HEIGHT), Image.Resampling.BOX)
        sheet.paste(Image.fromarray(_colours(np.asarray(tile))), (x, y))
        draw.text((x, y + _TILE_HEIGHT + 3), caption, _INK, font)
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _brightness(example: np.ndarray) -> np.ndarray:
    """Return magnitudes ``(frames, bins)`` as brightness in [0, 1], float32 ``(bins, frames)``, highest bin first."""
    magnitudes = np.abs(example.astype(np.float64))
    with np.errstate(divide="ignore"):  # the log of 0 is -inf, which becomes the darkest colour
        level_db = 20 * np.log10(magnitudes / (magnitudes.max() or 1.0))
    return np.clip(1 + level_db / _DYNAMICS_DB, 0, 1).T[::-1].astype(np.float32)


def _colours(brightness: np.ndarray) -> np.ndarray:
    return PALETTE.round().astype(np.uint8)[(brightness * 255).round().astype(np.uint8)]
