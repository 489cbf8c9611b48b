"""Small evaluations for tests of the report, with sounds that are quick to make."""

from __future__ import annotations

import numpy as np

from synthray.evaluate.bootstrap import Estimate
from synthray.evaluate.examples import Answer, Example
from synthray.evaluate.parts import BASELINES
from synthray.evaluate.report import CHANCE, Evaluation, Scores
from synthray.evaluate.scores import Score
from synthray.match.distances.table import DISTANCES
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES, SAMPLE_RATE_HZ
from synthray.synth.priors import random_presets

SETTINGS = INSTRUMENT.labels_to_settings(random_presets(3, 0, 16))


def sine(frequency_hz: float, amplitude: float = 0.2) -> np.ndarray:
    """Return a sine, float32 (22050,)."""
    return np.asarray(amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(N_SAMPLES) / SAMPLE_RATE_HZ), np.float32)


def noise(seed: int) -> np.ndarray:
    """Return white noise, float32 (22050,), which compresses worst."""
    return np.random.default_rng(seed).normal(0, 0.1, N_SAMPLES).astype(np.float32)


def estimate(value: float, median: float | None = None, count: int = 1000) -> Estimate:
    return Estimate(value, value * 0.9, value * 1.1, count, median)


def scores(over_all: float, where_audible: float) -> Scores:
    """Return the same scores for every parameter; means are not in the report."""
    return Scores(
        tuple(
            Score(p.name, p.kind, estimate(over_all), estimate(where_audible, count=400)) for p in INSTRUMENT.learned
        ),
        (),
    )


def distances(mss: float) -> dict[str, Estimate]:
    """Return an MSS, and other distances that are all the same."""
    return {d.name: estimate(mss, 0.9 * mss) if d.name == "mss" else estimate(0.5) for d in DISTANCES}


def answer(name: str, audio: np.ndarray, preset: int = 1) -> Answer:
    return Answer(name, SETTINGS[preset], audio, {d.name: 1.25 for d in DISTANCES})


def example(original: np.ndarray, *answers: Answer, kind: str = "best") -> Example:
    return Example(kind, 7, SETTINGS[0], original, answers)


def evaluation(names: list[str], examples: tuple[Example, ...] = (), data: str = "synth://?seed=7") -> Evaluation:
    """Return an evaluation of models by name, the first of which has the best choices and the worst of the rest."""
    qualities = {name: 1 / (2 + index) for index, name in enumerate(names)}
    measured = {name: distances(10 * quality) for name, quality in qualities.items()}
    return Evaluation(
        models={name: f"/{name}.keras" for name in names},
        data=data,
        data_digest="0",
        examples="holdout",
        rows=1000,
        scores={name: scores(quality / 2, quality / 3) for name, quality in qualities.items()}
        | {CHANCE: scores(0.25, 0.2)},
        knows_audible=True,
        sounds=1000,
        distances=measured | {name: distances(15.3) for name in BASELINES},
        listen=examples,
    )
