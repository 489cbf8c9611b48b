"""Small reports for tests: every kind of content, with sounds that are quick to make."""

from __future__ import annotations

import numpy as np

from synthray.evaluate.bootstrap import Estimate
from synthray.evaluate.html.data import Answer, Baseline, Distance, ExampleMatch, ModelResult, ParameterScore
from synthray.evaluate.html.data import ReportData as ReportData
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES, SAMPLE_RATE_HZ
from synthray.synth.priors import random_presets

LEARNED = len(INSTRUMENT.learned)
SETTINGS = INSTRUMENT.labels_to_settings(random_presets(3, 0, 16))
MSS = Distance("MSS", "Difference of mel spectrograms, in dB.")
SIMILARITY = Distance("RMS similarity", "Cosine of two level curves.", lower_is_better=False)
AUDIBLE = np.arange(LEARNED) % 3 == 0


def sine(frequency_hz: float, amplitude: float = 0.2) -> np.ndarray:
    """Return a sine, float32 (22050,)."""
    return np.asarray(amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(N_SAMPLES) / SAMPLE_RATE_HZ), np.float32)


def noise(seed: int) -> np.ndarray:
    """Return white noise, float32 (22050,), which compresses worst."""
    return np.random.default_rng(seed).normal(0, 0.1, N_SAMPLES).astype(np.float32)


def estimate(value: float, chance: float | None = None, median: float | None = None, count: int = 1000) -> Estimate:
    return Estimate(value, value * 0.9, value * 1.1, count, median, chance)


def model(name: str, quality: float = 0.5) -> ModelResult:
    """Return a model with scores of all parameters and two distances."""
    scores = tuple(
        ParameterScore(parameter.name, estimate(quality / 2, 0.25), estimate(quality / 3, 0.25, count=400))
        for parameter in INSTRUMENT.learned
    )
    distances = {"MSS": estimate(10 * quality, median=9 * quality), "RMS similarity": estimate(0.9 - quality / 2)}
    return ModelResult(name, scores, distances, (("network", "dense"), ("training", "an hour")))


def answer(name: str, audio: np.ndarray, preset: int = 1) -> Answer:
    confidence = np.linspace(0, 1, LEARNED, dtype=np.float32)
    return Answer(name, SETTINGS[preset], audio, AUDIBLE, confidence, {"MSS": 1.25, "RMS similarity": 0.987})


def example(original: np.ndarray, *answers: Answer, kind: str = "best") -> ExampleMatch:
    return ExampleMatch(kind, original, answers, SETTINGS[0], ~AUDIBLE, "the closest by MSS")


def report(names: list[str], examples: tuple[ExampleMatch, ...] = (), **changes: object) -> ReportData:
    """Return a report of models by name, the first of which is the worst."""
    values = {
        "title": "Matches of 1,000 sounds",
        "data_uri": "synth://?seed=7",
        "sounds": 1000,
        "models": tuple(model(name, 1 / (2 + index)) for index, name in enumerate(names)),
        "distances": (MSS, SIMILARITY),
        "baselines": (Baseline("random preset", {"MSS": estimate(15.3)}, "another sound"), Baseline("floor", {})),
        "examples": examples,
    }
    return ReportData(**{**values, **changes})
