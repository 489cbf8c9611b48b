"""The default recipe learns from features and parameters of any scale and number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthray.data.open import open_dataset
from synthray.model.predictor import Predictor
from synthray.train.config import TrainConfig, with_recipe
from synthray.train.export import export_model
from tests.conftest import convert_here
from tests.train.any_data import BINS, Data, scaled
from tests.train.training import train


def with_outliers(random: np.random.Generator, magnitudes: np.ndarray) -> np.ndarray:
    return np.where(random.random(magnitudes.shape) < 0.002, magnitudes * 1e8, magnitudes)


def with_constant_bins(_: np.random.Generator, magnitudes: np.ndarray) -> np.ndarray:
    magnitudes[..., :3] = 7, 0, -1e6
    return magnitudes


DATA = {
    "1e-6": Data(scaled(1e-6)),
    "1": Data(),
    "1e6": Data(scaled(1e6)),
    "each bin of another scale": Data(lambda _, magnitudes: magnitudes * 10.0 ** np.linspace(-6, 6, BINS)),
    "from 20 to 20,000": Data(lambda _, magnitudes: np.clip(632 * magnitudes, 20, 20_000)),
    "both signs": Data(lambda _, magnitudes: 1e4 * np.log(magnitudes)),
    "far from 0": Data(lambda _, magnitudes: 1e5 + np.log(magnitudes)),
    "mostly 0": Data(lambda _, magnitudes: np.where(magnitudes < 2, 0, magnitudes)),
    "outliers": Data(with_outliers),
    "constant bins": Data(with_constant_bins),
    "ranges from 20 to 20,000": Data(interval=(20.0, 20_000.0)),
    "one frame": Data(frames=1),
    "2 parameters": Data(ranges=2, choices=0),
    "200 parameters": Data(ranges=190, choices=10, examples=512),
    "1 class": Data(choices=2, classes=1),
    "200 classes": Data(ranges=1, classes=200),
    "many examples": Data(examples=4096),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA)
def test_recipe_learns_and_its_model_predicts(name: str, tmp_path: Path) -> None:
    data = DATA[name]
    convert_here(data.write(tmp_path / "training_data"), tmp_path / "data")
    dataset = open_dataset(str(tmp_path / "data"))
    config = TrainConfig(dataset.uri, str(tmp_path / "out"), **with_recipe({"width": 32, "epochs": 10}))
    trained = train(config, dataset)
    losses = [epoch["loss"] for epoch in trained.history]
    assert losses[-1] < min(0.99 * losses[0], data.chance)
    # A few hundred examples are too few to learn 200 parameters, but the model must not be much worse than chance.
    assert trained.report["val_loss"] < 1.01 * data.chance
    predictor = Predictor.load(export_model(config, dataset, trained))
    assert predictor.card.numpy
    labels = predictor.labels(dataset.take(np.arange(8)).features)
    assert np.isfinite(labels).all()
