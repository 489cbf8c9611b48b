"""Train a model further, so that its answers sound nearer. ``synthray.match.sound_training`` explains the method.

    .venv/bin/python infra/train_by_sound.py models/final/model_2000_20.keras

The new model is written to the same folder, as ``model_2000_20_by_sound.keras``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # several threads multiply at once

import keras
import numpy as np
import tensorflow as tf

from synthray.data.open import open_dataset
from synthray.errors import ModelError, NotFound
from synthray.match.sound import is_instrument_model
from synthray.match.sound_training import SoundTraining, Step, train_by_sound
from synthray.model.heads import HeadLayout
from synthray.model.losses import score
from synthray.model.numpy_network import NumpyNetwork, read_network
from synthray.model.predictor import Predictor
from synthray.model.saved import SUFFIX, ModelCard, open_model, read_verified, resolve_model, save_model
from synthray.progress import StatusLine
from synthray.storage import open_parent
from synthray.train.step import to_tensors

BLOCK_SOUNDS = 512


def main() -> None:
    """Train a model by sounds, and save the result as a new model."""
    parser = argparse.ArgumentParser("train_by_sound.py", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("model", metavar="MODEL.keras", help="URI of the trained model")
    parser.add_argument("--out", metavar="URI", help="folder to write to (default: the model's folder)")
    sounds = SoundTraining.sounds
    parser.add_argument("--sounds", type=int, default=sounds, help="sounds to train on (default: %(default)s)")
    arguments = parser.parse_args()
    uri = resolve_model(arguments.model)
    raw, card = read_verified(uri)
    if arguments.sounds < 1:
        parser.error(f"--sounds is {arguments.sounds}. Give at least 1.")
    config = SoundTraining(arguments.sounds, batch_size=min(arguments.sounds, SoundTraining.batch_size))
    folder, _ = open_parent(uri)
    out, name = arguments.out or folder.uri, f"{card.name}_by_sound"
    settings = asdict(config) | {"of": card.sha256}
    if _is_done(f"{out}/{name}{SUFFIX}", settings):
        print(f"{out}/{name}{SUFFIX} is already trained")
        return
    layout = HeadLayout(card.table, card.bins)
    network = read_network(raw, layout, card.feature_shape, card.name)
    if network is None or not card.bins or not is_instrument_model(Predictor(network, card)):
        raise SystemExit(
            f"{uri}: not a network with histograms of this instrument. Train one with --network histogram."
        )
    trained = train_by_sound(network, card.analysis, config, _progress(config))
    model = open_model(raw, uri)
    set_heads(model, trained)
    metrics = card.metrics | validation_metrics(trained, card)
    card = replace(card, name=name, config=card.config | {"by_sound": settings}, metrics=metrics)
    print(f"wrote {save_model(model, out, card)}")


def _is_done(uri: str, settings: dict[str, Any]) -> bool:
    """Return whether the model at ``uri`` is the one that a training with these settings would write."""
    try:
        _, card = read_verified(uri)
    except (NotFound, ModelError):
        return False
    return card.config.get("by_sound") == settings


def set_heads(model: keras.Model, network: NumpyNetwork) -> None:
    """Set the weights of a saved model's heads to those of ``network``."""
    for parameter in network.layout.table.learned:
        columns = network.layout.columns[parameter.name]
        model.get_layer(network.layout.head_name(parameter)).set_weights(
            [network.kernel[:, columns], network.bias[columns]]
        )


def validation_metrics(network: NumpyNetwork, card: ModelCard) -> dict[str, float]:
    """Return the metrics of a network on the examples that its training held out, as the training computes them."""
    dataset = open_dataset(card.dataset["uri"]).with_analysis(card.analysis)
    first, count = card.dataset["holdout"]["first"], card.dataset["holdout"]["count"]
    if not count:
        return {}
    totals = np.zeros(3)
    for start in range(first, first + count, BLOCK_SOUNDS):
        rows = np.arange(start, min(start + BLOCK_SOUNDS, first + count))
        batch = dataset.take(rows)
        _, labels, _ = to_tensors(batch, rows, audible_only=card.config["audible_only"])
        logits = network.logits(network.vectors(np.asarray(batch.features, np.float32)))
        totals += [float(tf.reduce_sum(values)) for values in score(logits, labels, network.layout)]
    return dict(zip(("val_loss", "val_accuracy", "val_error"), (totals / count).tolist(), strict=True))


def _progress(config: SoundTraining) -> Callable[[Step], None]:
    line = StatusLine()

    def report(step: Step) -> None:
        text = f"step {step.number} of {config.steps}, distance {step.distance_db:.2f} dB"
        if step.number == config.steps:
            line.finish(text)
        else:
            line.show(text)

    return report


if __name__ == "__main__":
    main()
