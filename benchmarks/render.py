"""Measure sounds per second of synthray's voice, torchsynth and SynthAX, in turn in one process.

Each renders random presets of its own instrument, 2 s at 11025 Hz, on all CPU cores. The instruments differ in
parameters and modules.

    python benchmarks/render.py                      # synthray, and the peers that are installed
    python benchmarks/render.py --repeats 15 --batch-size 256

The peers are optional. To install them in an environment that has synthray:

    pip install torch torchsynth "pytorch-lightning==1.8.6" "torchmetrics==0.10.3" "setuptools<81"
    pip install jax synthax chex flax
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from synthray.synth.features import render_features
from synthray.synth.instrument import DURATION_S, INSTRUMENT, SAMPLE_RATE_HZ
from synthray.synth.presets import noise_seeds, random_labels
from synthray.synth.voice import render, usable_cores

LARGE_BATCH = 2048
TURN_S = 0.5
PAUSE_S = 0.3  # between turns, because threads of the turn before may still be spinning
Contestant = tuple[int, Callable[[], object]]  # sounds in a call, and the call


def synthray_contestants(batch_size: int) -> dict[str, Contestant]:
    """Return the voice with and without features, at the common and at a large batch size."""
    contestants: dict[str, Contestant] = {}
    for count in (batch_size, LARGE_BATCH):
        settings = INSTRUMENT.labels_to_settings(random_labels(INSTRUMENT, 0, 0, count))
        seeds = noise_seeds(0, 0, count)
        contestants[f"synthray, audio, batch {count}"] = (count, lambda s=settings, n=seeds: render(s, n))
        contestants[f"synthray, features, batch {count}"] = (count, lambda s=settings, n=seeds: render_features(s, n))
    return contestants


def torchsynth_contestant(batch_size: int) -> Contestant:
    """Return torchsynth's ``Voice``; each call renders a batch of random presets."""
    import torch
    from torchsynth.config import SynthConfig
    from torchsynth.synth import Voice

    torch.set_num_threads(usable_cores())
    config = SynthConfig(
        batch_size=batch_size, sample_rate=SAMPLE_RATE_HZ, buffer_size_seconds=DURATION_S, reproducible=False
    )
    voice = Voice(synthconfig=config)

    def call() -> object:
        with torch.no_grad():
            return voice(0)

    return batch_size, call


def synthax_contestant(batch_size: int) -> Contestant:
    """Return SynthAX's ``Voice``, compiled by JAX."""
    import jax
    from synthax.config import SynthConfig
    from synthax.synth import Voice

    config = SynthConfig(batch_size=batch_size, sample_rate=SAMPLE_RATE_HZ, buffer_size_seconds=DURATION_S)
    voice = Voice(config=config)
    parameters = voice.init(jax.random.PRNGKey(0))
    apply = jax.jit(voice.apply)
    return batch_size, lambda: jax.block_until_ready(apply(parameters))


def turn(count: int, call: Callable[[], object]) -> float:
    """Return the sounds per second of calls that together last at least ``TURN_S``."""
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < TURN_S:
        call()
        calls += 1
    return calls * count / elapsed


def measure(contestants: dict[str, Contestant], repeats: int) -> dict[str, float]:
    """Return median sounds per second. Contestants take turns, so that other load affects all of them."""
    for _, call in contestants.values():
        call()  # compiles and warms up
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, contestant in contestants.items():
            time.sleep(PAUSE_S)
            rates[name].append(turn(*contestant))
    return {name: statistics.median(values) for name, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--batch-size", type=int, default=128, help="batch size for all contestants (default: %(default)s)"
    )
    parser.add_argument(
        "--repeats", type=int, default=9, help="turns per contestant; the median is shown (default: %(default)s)"
    )
    arguments = parser.parse_args()
    contestants = synthray_contestants(arguments.batch_size)
    peers = []
    for name, build in [("torchsynth", torchsynth_contestant), ("SynthAX", synthax_contestant)]:
        try:
            contestants[name] = build(arguments.batch_size)
            peers.append(name)
        except ImportError as error:
            print(f"{name} is not installed ({error}). See `python benchmarks/render.py --help`.")
    rates = measure(contestants, arguments.repeats)
    print(f"\n{usable_cores()} cores, NumPy {np.__version__}, sounds of {DURATION_S:g} s at {SAMPLE_RATE_HZ} Hz")
    print(f"{'':34}{'sounds/s':>10}" + "".join(f"{'x ' + peer:>14}" for peer in peers))
    for name, rate in rates.items():
        print(f"{name:34}{rate:>10,.0f}" + "".join(f"{rate / rates[peer]:>14.1f}" for peer in peers))


if __name__ == "__main__":
    main()
