"""Compare the shipped model in NumPy with the same model in Keras: start, memory and predictions.

    python benchmarks/start.py
    python benchmarks/start.py --rounds 3     # as in docs/benchmarks.md

A match is `synthray match` on a sound of the documentation, from the start of the interpreter to its exit. A replica
starts, loads the model and matches once, as `synthray serve` does. Both run once before they are measured, so that the
machine code is compiled already. Memory is the largest resident set. The two networks take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line and Ray do

SOUND = Path(__file__).parents[1] / "docs" / "sounds" / "original.wav"
SOUNDS = (1, 32, 256, 1024)
NETWORKS = ("NumPy", "Keras")
SECONDS = 0.5
"""Time for which predictions of one size are repeated in each round."""

ONLY_KERAS = "import synthray.model.predictor as predictor; predictor.read_network = lambda *_: None\n"
PROGRAMS = {
    "match": f"from synthray.cli.main import main; main(['match', {str(SOUND)!r}, '--model', 'shipped'])\n",
    "replica": (
        "from synthray.model.shipped import shipped_model\n"
        "from synthray.serve.models.load import load_predictor\n"
        "held = load_predictor(shipped_model())\n"
    ),
}
PRINT_MEMORY = """
from pathlib import Path
print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])
"""


def main() -> None:
    """Measure both networks in turn and print a table."""
    parser = argparse.ArgumentParser("start.py", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each number (default: %(default)s)")
    rounds = parser.parse_args().rounds
    print("| | NumPy | Keras |\n|---|---|---|")
    for name, title in (("match", "`synthray match`"), ("replica", "replica with a model, after one match")):
        measured = in_turn([lambda name=name, network=network: run(name, network) for network in NETWORKS], rounds)
        print_row(f"{title}, s", [f"{seconds:.1f}" for seconds, _ in measured])
        print_row(f"{title}, MB", [f"{megabytes:,.0f}" for _, megabytes in measured])
    for sounds, measured in predictions(rounds):
        print_row(f"predictions/s, {sounds:,} at once", [f"{rate:,.0f}" for (rate,) in measured])


def in_turn(measure: list[Callable[[], tuple[float, ...]]], rounds: int) -> list[tuple[float, ...]]:
    """Return the medians of each measurement, after one round that does not count."""
    results = [[function() for function in measure] for _ in range(rounds + 1)][1:]
    return [tuple(map(statistics.median, zip(*column, strict=True))) for column in zip(*results, strict=True)]


def run(program: str, network: str) -> tuple[float, float]:
    """Run a program in its own process; return its seconds, with the interpreter's start, and its megabytes."""
    code = (ONLY_KERAS if network == "Keras" else "") + PROGRAMS[program] + PRINT_MEMORY
    started_s = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return time.perf_counter() - started_s, int(done.stdout.split()[-1]) / 1000


def predictions(rounds: int) -> list[tuple[int, list[tuple[float, ...]]]]:
    """Return the predictions per second of both networks, for each number of sounds at once."""
    import numpy as np

    from synthray.model.predictor import Predictor
    from synthray.model.saved import load_model
    from synthray.model.shipped import shipped_model

    predictors = [Predictor.load(shipped_model()), Predictor(*load_model(shipped_model()))]
    shape = predictors[0].card.feature_shape
    rows = []
    for sounds in SOUNDS:
        features = np.random.default_rng(0).random((sounds, *shape), np.float32)

        def rate(predictor: Predictor, features: np.ndarray = features) -> tuple[float]:
            calls, started_s = 0, time.perf_counter()
            while (elapsed_s := time.perf_counter() - started_s) < SECONDS:
                predictor.labels(features)
                calls += 1
            return (calls * len(features) / elapsed_s,)

        rows.append((sounds, in_turn([lambda p=p: rate(p) for p in predictors], rounds)))
    return rows


def print_row(title: str, cells: list[str]) -> None:
    """Print a row of the table."""
    print(f"| {title} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
