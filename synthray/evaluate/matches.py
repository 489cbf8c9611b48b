"""Answers to sounds of the instrument, and their distances to the originals.

Scores of parameters are in ``scores.py``, answers that need no model in ``baselines.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthray.evaluate.bootstrap import Estimate, estimate_mean
from synthray.match.distances.table import DISTANCES, compare, describe
from synthray.synth.dsp.lanes import LANES, Floats, Seeds
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.voice import in_threads, render


@dataclass(frozen=True)
class Matches:
    """Sounds of a data set with several answers to each, which can be concatenated."""

    rows: npt.NDArray[np.int64]
    """Numbers of the sounds in the data set, ``(sounds,)``."""
    settings: Floats
    """True presets ``(sounds, 46)``, in units."""
    noise_seeds: Seeds
    """Seeds of the originals' noise, ``(sounds,)``."""
    answer_noise_seeds: Seeds
    """Seeds of the noise of all answers, ``(sounds,)``."""
    answers: Floats
    """Presets ``(answers, sounds, 46)``, in units."""
    distances: npt.NDArray[np.float64]
    """``(answers, sounds, distances)``, in the order of ``DISTANCES``."""

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def measure(
        cls,
        rows: npt.NDArray[np.int64],
        settings: Floats,
        noise_seeds: Seeds,
        answer_noise_seeds: Seeds,
        answers: Floats,
        threads: int | None = None,
    ) -> Matches:
        """Render originals and answers, and compare them; the arguments are the fields."""
        distances = np.empty((len(answers), len(rows), len(DISTANCES)))

        def work(first: int) -> None:
            block = slice(first, first + LANES)
            originals = describe(render(settings[block], noise_seeds[block], threads=1))
            for number, answer in enumerate(answers):
                audio = render(answer[block], answer_noise_seeds[block], threads=1)
                distances[number, block] = compare(originals, describe(audio))

        in_threads(work, range(0, len(rows), LANES), threads)
        return cls(rows, settings, noise_seeds, answer_noise_seeds, answers, distances)

    @classmethod
    def concatenate(cls, parts: Sequence[Matches], answers: int) -> Matches:
        """Return the sounds of all parts, in the order of their rows."""
        parts = [cls.none(answers), *parts]
        rows = np.concatenate([part.rows for part in parts])
        order = np.argsort(rows)
        return cls(
            rows[order],
            np.concatenate([part.settings for part in parts])[order],
            np.concatenate([part.noise_seeds for part in parts])[order],
            np.concatenate([part.answer_noise_seeds for part in parts])[order],
            np.concatenate([part.answers for part in parts], axis=1)[:, order],
            np.concatenate([part.distances for part in parts], axis=1)[:, order],
        )

    @classmethod
    def none(cls, answers: int) -> Matches:
        """Return no sounds."""
        seeds, width = np.empty(0, np.uint64), len(INSTRUMENT)
        presets = np.empty((answers, 0, width), np.float32)
        return cls(np.empty(0, np.int64), presets[0], seeds, seeds, presets, np.empty((answers, 0, len(DISTANCES))))

    def estimates(self, answer: int) -> dict[str, Estimate]:
        """Return the mean distances of an answer by name, or nothing if there are no sounds."""
        if not len(self):
            return {}
        values = self.distances[answer]
        return {distance.name: estimate_mean(values[:, column]) for column, distance in enumerate(DISTANCES)}
