"""Rendering of data sets that store presets instead of features.

The instrument itself is not here; see ``synthray.synth``.
"""

from __future__ import annotations

import numpy as np

from synthray.data.manifest import Manifest
from synthray.errors import DataError
from synthray.synth.features import render_features
from synthray.synth.instrument import INSTRUMENT, INSTRUMENT_VERSION


def check_instrument(manifest: Manifest, name: str) -> None:
    """Check that this version of the instrument still renders a data set's presets to the same sounds.

    Raises:
        DataError: the presets need another version of the instrument.
    """
    for part in manifest.source_parts:
        if part.get("instrument") != INSTRUMENT_VERSION or manifest.table != INSTRUMENT:
            raise DataError(
                f"{name}: these presets need instrument version {part.get('instrument')}; this synthray has version "
                f"{INSTRUMENT_VERSION}. Generate the data set again."
            )


def features_of_labels(
    labels: np.ndarray, seeds: np.ndarray, dtype: str = "float32", analysis: str = "fft"
) -> np.ndarray:
    """Return the features of presets.

    They are rendered in this thread alone, because parallel tasks already use the other cores.

    Args:
        labels: float ``(sounds, learned)``.
        seeds: uint64 ``(sounds,)``, seeds of the noise.
        dtype: NumPy dtype of the result.
        analysis: a key of ``synthray.synth.features.ANALYSES``.

    Returns:
        ``dtype`` ``(sounds, frames, levels)``.
    """
    settings = INSTRUMENT.labels_to_settings(np.asarray(labels, np.float32))
    return render_features(settings, seeds, threads=1, dtype=np.dtype(dtype), analysis=analysis)
