"""Loading of a model for the service: verified, tried out and warm before it answers its first request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synthray.errors import ModelError
from synthray.model.heads import output_name
from synthray.synth.parameters import Choice

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor

SUM_TOLERANCE = 1e-3
"""Largest accepted difference between 1 and the sum of a choice's probabilities."""


def load_predictor(uri: str) -> Predictor:
    """Load, try out and warm up the ``.keras`` file at ``uri``.

    Raises:
        NotFound: there is no such model.
        ModelError: its SHA-256 differs from its card's, it cannot be opened, or its outputs are not usable.
    """
    # Imported in the replica only: the job that deploys it needs no compiler.
    from synthray.match.match import warm_up
    from synthray.model.predictor import Predictor

    predictor = Predictor.load(uri)
    require_usable(predictor)
    warm_up(predictor)
    return predictor


def require_usable(predictor: Predictor) -> None:
    """Raise ModelError unless the outputs for silence and for noise are finite and of the shapes in the card."""
    name, shape = predictor.card.name, (predictor.frames, predictor.bins)
    silence_and_noise = np.stack([np.zeros(shape), np.random.default_rng(0).random(shape)])
    outputs = predictor.predict(silence_and_noise.astype(np.float32))
    for parameter in predictor.card.table.learned:
        output = output_name(parameter.name)
        values, expected = outputs[output], (2, parameter.num_outputs)
        if values.shape != expected:
            raise ModelError(f"{name}: output {output!r} has shape {values.shape}, expected {expected}")
        if not np.isfinite(values).all():
            raise ModelError(f"{name}: output {output!r} is not finite for a test input. Train the model again.")
        sums = values.sum(axis=1)
        if isinstance(parameter, Choice) and np.abs(sums - 1).max() > SUM_TOLERANCE:
            raise ModelError(f"{name}: probabilities of {output!r} sum to {sums.tolist()}, expected 1")
