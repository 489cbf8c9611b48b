"""Train the heads of a network by the sounds of their answers, after its training on labels.

Labels teach a network which settings are likely, each by itself. Its answer is the middle of each histogram, and these
settings together need not make the nearest sound. Here each head learns *tilts*: numbers that are added to the logits
of a choice's classes, or that raise one end of a range's histogram and lower the other one. A tilt is a linear function
of the vector that the heads read, so it becomes part of their weights, and the network needs no other layer.

The distance between sounds has no gradient. It is estimated from pairs of answers, whose tilts have random offsets of
opposite signs (evolution strategies with antithetic sampling: Salimans et al. 2017). The cross-entropy of the labels
has a small weight in the loss, so that the histograms stay true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from synthray.data.sources.synthetic import SoundGenerator
from synthray.errors import ConfigError
from synthray.match.objective import Objective
from synthray.match.sound import SILENCE_RMS, normalize_level, rms_of
from synthray.model.distribution import likeliest_labels
from synthray.model.heads import HeadLayout
from synthray.model.numpy_network import NumpyNetwork
from synthray.synth.audible.audible import audible
from synthray.synth.dsp.lanes import LANES, Floats
from synthray.synth.features import analyse
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice
from synthray.synth.presets import noise_seeds
from synthray.synth.voice import in_threads, render

PAIRS = LANES // 2
"""Pairs of answers to each sound; all of them are rendered together."""
BLOCK_SOUNDS = 32
"""Sounds of a batch that one thread takes at a time."""
LARGEST_DIFFERENCE_DB = 2.0
"""Two answers whose distances differ by more count as if they differed by this."""

ADAM_DECAYS, ADAM_EPSILON = (0.9, 0.98), 1e-8


@dataclass(frozen=True)
class SoundTraining:
    """Settings of a training by sounds."""

    sounds: int = 122_880
    """Random sounds to train on, each once."""
    seed: int = 20261201
    """Seed of the sounds and of the offsets."""
    batch_size: int = 1024
    """Sounds of a step."""
    learning_rate: float = 0.0016
    """Highest rate of Adam. It rises for five steps and falls by a cosine."""
    offset: float = 0.5
    """Standard deviation of the random offsets of a tilt."""
    label_weight: float = 0.1
    """Weight of 1 nat of cross-entropy, in dB of distance."""

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= self.sounds:
            raise ConfigError(f"{self.sounds} sounds in batches of {self.batch_size}. Give at least one whole batch.")

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.sounds // self.batch_size


@dataclass(frozen=True)
class Step:
    """Means of one step."""

    number: int
    """From 1."""
    distance_db: float
    """Distance between the sounds and the answers with offsets; 0 if all sounds are silent."""


def train_by_sound(
    network: NumpyNetwork, analysis: str, config: SoundTraining, report: Callable[[Step], None] = lambda _: None
) -> NumpyNetwork:
    """Return a network whose answers sound nearer. Only the kernel of the heads differs.

    Args:
        network: predicts histograms of the instrument's parameters.
        analysis: makes the network's features; a key of ``synthray.synth.features.ANALYSES``.
        config: settings.
        report: is called after each step.
    """
    directions = tilt_directions(network.layout)
    weights = np.zeros((len(network.kernel), len(directions)), np.float32)
    optimizer = _Adam(weights)
    for number in range(config.steps):
        tilted = replace(network, kernel=network.kernel + weights @ directions)
        batch = _Batch.of_sounds(config, number)
        vectors, slopes, distances = batch.slopes(tilted, analysis, directions, config)
        gradient = np.asarray(vectors.T @ slopes / config.batch_size, np.float32)
        optimizer.step(gradient, _learning_rate(config, number))
        report(Step(number + 1, _mean_of_heard(distances)))
    return replace(network, kernel=network.kernel + weights @ directions)


def tilt_directions(layout: HeadLayout) -> Floats:
    """Return the numbers that a tilt of 1 adds to the logits, float32 ``(tilts, width)``.

    Each class of a choice has a tilt. Each range without steps has one too: it adds -1 at the lower end and 1 at the
    upper end. Pitches are the only ranges with steps. They have no tilt, because the answer chooses both pitches as a
    pair.
    """
    rows = []
    for parameter, positions in zip(layout.classified, layout.class_labels, strict=True):
        columns = layout.columns[parameter.name]
        if isinstance(parameter, Choice):
            rows += list(np.eye(layout.width)[columns])
        elif not parameter.step:
            row = np.zeros(layout.width)
            row[columns] = 2 * positions[: layout.outputs(parameter)] - 1
            rows.append(row)
    return np.array(rows, np.float32)


def label_tilts(layout: HeadLayout, labels: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the mean of each tilt's direction over histograms that are certain of ``labels`` (sounds, learned).

    Returns:
        float32 ``(sounds, tilts)``, and the column of the label that each tilt belongs to, int64 ``(tilts,)``.
    """
    means, owners = [], []
    for column, parameter in enumerate(layout.table.learned):
        if isinstance(parameter, Choice):
            means.append(np.eye(parameter.num_outputs)[labels[:, column].astype(int)])
        elif not parameter.step:
            means.append(2 * labels[:, [column]] - 1)
        else:
            continue
        owners += [column] * means[-1].shape[1]
    return np.concatenate(means, axis=1).astype(np.float32), np.array(owners)


@dataclass(frozen=True)
class _Batch:
    """Random presets and their sounds."""

    number: int
    labels: Floats
    audio: Floats

    @classmethod
    def of_sounds(cls, config: SoundTraining, number: int) -> _Batch:
        first, count = number * config.batch_size, config.batch_size
        labels = SoundGenerator(config.seed).labels(first, count)
        settings = INSTRUMENT.labels_to_settings(labels)
        return cls(number, labels, render(settings, noise_seeds(config.seed, first, count)))

    def slopes(
        self, network: NumpyNetwork, analysis: str, directions: Floats, config: SoundTraining
    ) -> tuple[Floats, Floats, Floats]:
        """Return the vectors that the heads read, the derivative of the loss by each tilt, and the distances in dB.

        Silent sounds have slopes and distances of 0.
        """
        count = len(self.labels)
        vectors = np.zeros((count, len(network.kernel)), np.float32)
        slopes, distances = np.zeros((count, len(directions)), np.float32), np.zeros(count, np.float32)
        loud = np.flatnonzero(rms_of(self.audio) >= SILENCE_RMS)

        def work(first: int) -> None:
            rows = loud[first : first + BLOCK_SOUNDS]
            targets = np.stack([normalize_level(self.audio[row]) for row in rows])
            random = np.random.default_rng([config.seed, self.number, first])
            vectors[rows] = network.vectors(analyse(targets, threads=1, analysis=analysis))
            logits = network.logits(vectors[rows])
            slopes[rows] = config.label_weight * _label_slopes(network, logits, self.labels[rows], directions)
            by_sound, distances[rows] = _distance_slopes(network, logits, targets, directions, config.offset, random)
            slopes[rows] += by_sound

        in_threads(work, range(0, len(loud), BLOCK_SOUNDS), None)
        return vectors, slopes, distances


def _label_slopes(network: NumpyNetwork, logits: Floats, labels: Floats, directions: Floats) -> Floats:
    """Return the derivative by each tilt of the audible labels' cross-entropy, float32 ``(sounds, tilts)``."""
    truth, owners = label_tilts(network.layout, labels)
    slopes = network.outputs(logits.copy()) @ directions.T - truth
    return np.where(audible(INSTRUMENT.labels_to_settings(labels))[:, owners], slopes, 0)


def _distance_slopes(
    network: NumpyNetwork,
    logits: Floats,
    targets: Floats,
    directions: Floats,
    offset: float,
    random: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Estimate the derivative of the answer's distance by each tilt.

    Args:
        network: makes the answers.
        logits: outputs of the network's heads, float32 ``(sounds, width)``.
        targets: the sounds, float32 ``(sounds, 22050)``.
        directions: of the tilts.
        offset: standard deviation of the random offsets.
        random: draws them.

    Returns:
        slopes in dB, float32 ``(sounds, tilts)``, and mean distances in dB, float32 ``(sounds,)``.
    """
    layout = network.layout
    offsets = (offset * random.standard_normal((len(targets), PAIRS, len(directions)))).astype(np.float32)
    shifts = (offsets @ directions)[:, None] * np.array([1, -1], np.float32)[:, None, None]
    outputs = network.outputs((logits[:, None, None] + shifts).reshape(-1, layout.width))
    parts = [outputs[:, layout.columns[parameter.name]] for parameter in layout.table.learned]
    answers = likeliest_labels(layout.table, parts).reshape(len(targets), 2 * PAIRS, -1)
    pairs = [Objective(target)(answer).reshape(2, PAIRS) for target, answer in zip(targets, answers, strict=True)]
    distances = np.array(pairs, np.float32)
    differences = np.clip(distances[:, 0] - distances[:, 1], -LARGEST_DIFFERENCE_DB, LARGEST_DIFFERENCE_DB)
    slopes = np.einsum("sp,spt->st", differences, offsets) / (2 * offset**2 * PAIRS)
    return slopes, distances.mean(axis=(1, 2))


def _mean_of_heard(distances: Floats) -> float:
    """Return the mean distance of the sounds that are not silent, or 0 if there are none."""
    heard = distances[distances > 0]
    return float(heard.mean()) if len(heard) else 0.0


def _learning_rate(config: SoundTraining, step: int) -> float:
    return config.learning_rate * min(1.0, (step + 1) / 5) * float(0.5 + 0.5 * np.cos(np.pi * step / config.steps))


class _Adam:
    """Adam (Kingma and Ba 2015) on one array, which it changes in place."""

    def __init__(self, weights: Floats) -> None:
        self._weights, self._steps = weights, 0
        self._mean, self._square = np.zeros_like(weights), np.zeros_like(weights)

    def step(self, gradient: Floats, learning_rate: float) -> None:
        self._steps += 1
        (first, second), count = ADAM_DECAYS, self._steps
        self._mean += (1 - first) * (gradient - self._mean)
        self._square += (1 - second) * (np.square(gradient) - self._square)
        deviation = np.sqrt(self._square / (1 - second**count)) + ADAM_EPSILON
        self._weights -= learning_rate / (1 - first**count) * self._mean / deviation
