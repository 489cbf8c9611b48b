"""Measure the distances between sounds and their matches.

    python benchmarks/quality.py
    python benchmarks/quality.py --notebook NOTEBOOK.keras --sounds 200 --long-sounds 20
    python benchmarks/quality.py --notebook NOTEBOOK.keras --notes notes/

The script compares a model with and without search, the nearest of 20,000 random presets, and the notebook's network.
The sounds are random presets of a seed that no training uses. The *floor* is the distance of the true preset with
another noise seed. It is subtracted from two distances before their ratio is computed. To train the notebook's network
as in the notebook:

    synthray train --data "synth://?seed=1&batches=3500" --network notebook --optimizer sgd --schedule constant \\
        --batch-size 32 --epochs 30 --workers 1

With --notes the sounds are WAV files of other instruments, for example General MIDI notes that FluidSynth rendered, and
only distances are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from synthray.cli.match import SHORT_SEARCH
from synthray.evaluate.baselines import Candidates
from synthray.match.distances.table import DISTANCES, compare, describe
from synthray.match.match import match
from synthray.match.sound import normalize_level
from synthray.model.predictor import Predictor
from synthray.model.shipped import shipped_model
from synthray.progress import Progress
from synthray.synth.audible.audible import audible
from synthray.synth.features import analyse
from synthray.synth.files.sound_file import read_sound
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice
from synthray.synth.presets import noise_seeds
from synthray.synth.priors import random_presets
from synthray.synth.voice import render

NOTEBOOK, FLOOR = "notebook's network", "true preset, other noise"
NEAR_DB = 0.3
"""A match with at most this MSS above the floor sounds like the true preset with other noise."""
HELD_OUT_SEED, ANSWER_SEED = 4_000_000_007, 4_000_000_009
BLOCK_SOUNDS = 8
"""Sounds that are compared together, so that their spectrograms take a few megabytes."""
NAMES = [distance.name for distance in DISTANCES]
IS_CHOICE = np.array([isinstance(parameter, Choice) for parameter in INSTRUMENT.learned])


@dataclass(frozen=True)
class Answers:
    """The presets that one method gives to the first sounds."""

    name: str
    settings: np.ndarray
    """float32 ``(sounds, parameters)``."""
    seconds: float = 0.0
    """Mean time for a sound."""
    evaluations: float = 0.0
    """Mean number of presets compared for a sound."""


def main() -> None:
    """Match sounds in several ways and print the tables."""
    arguments = parse_arguments()
    model = Predictor.load(arguments.model)
    rows = read_notes(arguments.notes) if arguments.notes else None
    if rows is None:
        truth = random_presets(HELD_OUT_SEED, 0, arguments.sounds)
        settings = INSTRUMENT.labels_to_settings(truth)
        originals = render(settings, noise_seeds(HELD_OUT_SEED, 0, arguments.sounds))
    else:
        originals = rows
    few, longer = originals[: arguments.refined_sounds], originals[: arguments.long_sounds]
    answers = [answer(Predictor.load(arguments.notebook), originals, NOTEBOOK)] if arguments.notebook else []
    answers += [
        answer(model, originals, "network"),
        answer(model, originals, f"network and {SHORT_SEARCH} presets", max_evaluations=SHORT_SEARCH),
    ]
    if len(few):
        answers.append(answer(model, few, f"network and {arguments.refine:g} s on one core", arguments.refine))
    if len(longer):
        name = f"network and {arguments.long_refine:g} s on two cores"
        answers.append(answer(model, longer, name, arguments.long_refine, 2))
    answers.append(nearest_of_many(originals))
    if rows is None:
        answers.append(Answers(FLOOR, settings))
        answers.append(Answers("random preset", np.roll(settings, 1, axis=0)))
    measured = measure(originals, answers)
    result = {"sounds": len(originals), "distances": distances_table(answers, measured, has_floor=rows is None)}
    if rows is None:
        result["parameters"] = parameters_table(settings, answers, measured)
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def answer(
    predictor: Predictor,
    originals: np.ndarray,
    name: str,
    refine_s: float = 0.0,
    threads: int = 1,
    max_evaluations: int | None = None,
) -> Answers:
    """Match each sound."""
    with Progress(name, len(originals), "sounds") as progress:
        matches = []
        for audio in originals:
            matches.append(match(predictor, audio, refine_s, max_evaluations=max_evaluations, threads=threads))
            progress.advance()
    seconds, evaluations = (np.mean([getattr(m, field) for m in matches]) for field in ("elapsed_s", "evaluations"))
    return Answers(name, np.stack([m.settings for m in matches]), float(seconds), float(evaluations))


def nearest_of_many(originals: np.ndarray) -> Answers:
    """Take the nearest of 20,000 random presets."""

    return Answers("nearest of 20,000 presets", Candidates.render().nearest(analyse(originals)))


def measure(originals: np.ndarray, answers: list[Answers]) -> dict[str, np.ndarray]:
    """Return the distances of each method's sounds by its name, float64 ``(sounds, distances)``."""
    seeds = noise_seeds(ANSWER_SEED, 0, len(originals))
    return {each.name: _distances(originals, render(each.settings, seeds[: len(each.settings)])) for each in answers}


def _distances(originals: np.ndarray, sounds: np.ndarray) -> np.ndarray:
    """Return the distances of the first originals from their sounds, float64 ``(sounds, distances)``."""
    found = np.empty((len(sounds), len(DISTANCES)))
    for first in range(0, len(sounds), BLOCK_SOUNDS):
        answers = sounds[first : first + BLOCK_SOUNDS]
        found[first : first + len(answers)] = compare(
            describe(originals[first : first + len(answers)]), describe(answers)
        )
    return found


def distances_table(
    answers: list[Answers], measured: dict[str, np.ndarray], *, has_floor: bool
) -> list[dict[str, object]]:
    """Print the mean distances of each method, and its MSS above the floor relative to the notebook's network."""
    # Without the notebook's network, the ratios are to the network alone.
    reference = measured.get(NOTEBOOK, measured["network"])
    floor = measured[FLOOR] if has_floor else np.zeros_like(reference)
    print(
        f"\n{'':34}{'sounds':>7}{'s':>7}{'presets':>9}"
        + "".join(f"{name:>18}" for name in NAMES)
        + f"{'MSS ratio':>11}"
    )
    rows = []
    for each in answers:
        count, mean = len(each.settings), measured[each.name].mean(axis=0)
        # On the same sounds, because a longer search is measured on fewer of them.
        above, reference_above = (
            d[:count].mean(axis=0) - floor[:count].mean(axis=0) for d in (measured[each.name], reference)
        )
        ratios = above / reference_above
        cells = "".join(f"{value:>10.4f} ({ratio:5.2f})" for value, ratio in zip(mean, ratios, strict=True))
        print(f"{each.name:34}{count:>7}{each.seconds:>7.2f}{each.evaluations:>9.0f}{cells}{ratios[0]:>11.3f}")
        distances = dict(zip(NAMES, mean.tolist(), strict=True))
        above_floor = dict(zip(NAMES, ratios.tolist(), strict=True))
        medians = dict(zip(NAMES, np.median(measured[each.name], axis=0).tolist(), strict=True))
        rows.append(
            {"name": each.name, "sounds": count, "seconds": each.seconds, "evaluations": each.evaluations}
            | {"mean": distances, "median": medians, "above_floor_of_reference": above_floor}
        )
    return rows


def parameters_table(
    truth: np.ndarray, answers: list[Answers], measured: dict[str, np.ndarray]
) -> list[dict[str, object]]:
    """Print how well choices and ranges are found where they can be heard, in all sounds and in the near matches."""
    heard, labels, floor = audible(truth), INSTRUMENT.settings_to_labels(truth), measured[FLOOR][:, 0]
    near_by = f"within {NEAR_DB:g} dB of the floor"
    print(f"\n{'audible parameters':34}{'choices right':>15}{'error of ranges':>17}   {near_by}")
    rows = []
    for each in answers:
        count = len(each.settings)
        found = INSTRUMENT.settings_to_labels(each.settings)
        hits, errors = np.isclose(found, labels[:count]), np.abs(found - labels[:count])
        is_near = measured[each.name][:, 0] - floor[:count] <= NEAR_DB
        row: dict[str, object] = {"name": each.name, "near_sounds": int(is_near.sum())}
        for prefix, sounds in (("", np.ones_like(is_near)), ("near_", is_near)):
            weights = heard[:count] & sounds[:, None]
            row[f"{prefix}accuracy"] = _mean_score(hits, weights, IS_CHOICE)
            row[f"{prefix}error"] = _mean_score(errors, weights, ~IS_CHOICE)
        near = f"{row['near_sounds']:>5} sounds: {row['near_accuracy']:.3f} {row['near_error']:.4f}"
        print(f"{each.name:34}{row['accuracy']:>15.3f}{row['error']:>17.4f}   {near}")
        rows.append(row)
    return rows


def _mean_score(scores: np.ndarray, weights: np.ndarray, columns: np.ndarray) -> float:
    """Return the mean score of each parameter, averaged over the parameters; NaN if there is none."""
    means = [scores[weights[:, c], c].mean() for c in np.flatnonzero(columns) if weights[:, c].any()]
    return float(np.mean(means)) if means else float("nan")


def read_notes(folder: Path) -> np.ndarray:
    """Return the sounds of a folder of WAV files, at a level that occurs in training."""
    files = sorted(folder.glob("*.wav"))
    if not files:
        sys.exit(f"{folder}: there are no WAV files")
    return np.stack([normalize_level(read_sound(file.read_bytes()).audio) for file in files])


def parse_arguments() -> argparse.Namespace:
    """Return the flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notebook", default="", metavar="URI", help="the notebook's network, a .keras file")
    parser.add_argument("--model", default=shipped_model(), metavar="URI", help="model (default: the shipped model)")
    parser.add_argument("--sounds", type=int, default=1000, help="number of sounds (default: %(default)s)")
    parser.add_argument(
        "--refined-sounds", type=int, default=200, help="number of sounds with a short search (default: %(default)s)"
    )
    parser.add_argument(
        "--long-sounds", type=int, default=50, help="number of sounds with a long search (default: %(default)s)"
    )
    parser.add_argument(
        "--refine",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="length of a short search, on one core (default: %(default)s)",
    )
    parser.add_argument(
        "--long-refine",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="length of a long search, on two cores (default: %(default)s)",
    )
    parser.add_argument(
        "--notes", type=Path, metavar="DIR", help="match the WAV files in DIR instead of random presets"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write the figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
