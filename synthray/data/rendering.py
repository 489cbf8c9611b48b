"""Features from presets: what a data set that stores presets renders as it is read."""

from __future__ import annotations

import numpy as np

from synthray.data.manifest import Manifest
from synthray.errors import DataError
from synthray.synth.features import render_features
from synthray.synth.instrument import INSTRUMENT, INSTRUMENT_VERSION


def check_instrument(manifest: Manifest, name: str) -> None:
    """See that this synthray plays the presets of a data set as the one did that made them.

    Raises:
        DataError: its instrument is another.
    """
    for part in manifest.source.get("parts", [manifest.source]):
        if part.get("instrument") != INSTRUMENT_VERSION or manifest.table != INSTRUMENT:
            raise DataError(
                f"{name} holds presets of version {part.get('instrument')} of the instrument, this synthray plays "
                f"version {INSTRUMENT_VERSION}: they would sound otherwise. Make the data set again"
            )


def render(labels: np.ndarray, seeds: np.ndarray, dtype: str = "float32") -> np.ndarray:
    """Features of the instrument's presets, in this thread: the tasks of a cluster share its cores already."""
    settings = INSTRUMENT.labels_to_settings(np.asarray(labels, np.float32))
    return render_features(settings, seeds, threads=1, dtype=dtype)
