"""Input and output of each network, by name. No TensorFlow is imported here; ``networks.py`` builds them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """The input and the output of a network."""

    analysis: str = "fft"
    """Name of the analysis that the network prefers, where sounds can be rendered; it takes stored features too."""
    bins: int = 0
    """Bins of the histogram that it predicts for a range; 0 if it predicts one number."""
    least_frames: int = 3
    """Frames that its convolution needs."""


ARCHITECTURES = {
    "notebook": Architecture(),
    "log": Architecture(),
    "histogram": Architecture("spectra", bins=32, least_frames=1),
}
