"""Parameters with any names: from batch files over Parquet, training and Keras to the answers of the service."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest

from synthray.cli.main import main
from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.errors import DataError
from synthray.model.heads import histogram_layer, output_layer
from synthray.model.predictor import Predictor
from synthray.model.saved import open_model, read_card, read_verified
from synthray.synth.parameters import Choice, Constant, ParameterTable, Range
from synthray.train.config import TrainConfig, with_recipe
from synthray.train.export import export_model
from tests.conftest import convert_here
from tests.names import NAMES
from tests.train.training import train

SHAPE = (4, 5)
CHOICES = NAMES[::3]


def write(folder: Path) -> Path:
    """Write batch files with a learned parameter of each name; every third is a choice of two such names."""
    (folder / "fft").mkdir(parents=True)
    (folder / "parameters").mkdir()
    choice = {"random_type": "choice", "random_values": NAMES[:2]}
    parts = [choice if name in CHOICES else {"random_type": "range"} for name in NAMES]
    (folder / "keys.pkl").write_bytes(pickle.dumps([[name] for name in NAMES]))
    (folder / "randomizer_parts.pkl").write_bytes(pickle.dumps(parts))
    random = np.random.default_rng(0)
    for number in range(3):
        np.save(folder / "fft" / f"fft_batch_{number}.npy", random.random((16, *SHAPE)))
        columns = [np.eye(2)[random.integers(2, size=16)] if name in CHOICES else random.random(16) for name in NAMES]
        (folder / "parameters" / f"parameter_batches_{number}.pkl").write_bytes(pickle.dumps(columns))
    return folder


@dataclass(frozen=True)
class Trained:
    """A data set, and a model that was trained on it."""

    dataset: Dataset
    uri: str


@pytest.fixture(scope="module", params=["notebook", "histogram"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("names")
    convert_here(write(folder / "training data"), folder / "data")
    dataset = open_dataset(str(folder / "data"))
    settings = with_recipe({"width": 4, "epochs": 1}) | {"network": request.param}
    config = TrainConfig(dataset.uri, str(folder / "models"), **settings)
    return Trained(dataset, export_model(config, dataset, train(config, dataset)))


def test_layers_have_different_names_that_tensorflow_allows() -> None:
    layers = [layer(name) for name in NAMES for layer in (output_layer, histogram_layer)]
    assert len({layer.lower() for layer in layers}) == len(layers) - 4  # Gain, gain and GAIN differ in letters
    for layer in layers:
        assert len(layer) < 130
        assert set(layer) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


@pytest.mark.parametrize("name", ["filter_cutoff", "amplitude_lfo_waveform", "1_osc_wave", "a.b-c"])
def test_layer_of_a_plain_name_is_the_notebooks(name: str) -> None:
    assert (output_layer(name), histogram_layer(name)) == (f"out_{name}", f"histogram_{name}")


HALF = "half \ud83c"


@pytest.mark.parametrize(
    "parameter",
    [
        Range(HALF),
        Range("a", unit=HALF),
        Range("a", description=HALF),
        Choice("a", ("x", HALF)),
        Constant(HALF),
        Constant("a", value=HALF),
    ],
)
def test_table_refuses_a_text_that_no_file_can_hold(parameter: Range | Choice | Constant) -> None:
    with pytest.raises(DataError, match=r"parameter 1: 'half \\ud83c' holds half of a character"):
        ParameterTable((Range("whole"), parameter))


@pytest.mark.slow
def test_parquet_columns_and_statistics_have_the_true_names(trained: Trained) -> None:
    manifest = trained.dataset.manifest
    assert tuple(p.name for p in manifest.table.learned) == NAMES
    assert tuple(manifest.statistics) == NAMES
    shard = Path(trained.dataset.uri, manifest.shards[0].path)
    assert pq.read_schema(shard).names == [*NAMES, "features"]
    labels = trained.dataset.take(np.arange(48)).labels
    first = pickle.loads(Path(trained.dataset.uri, "../training data/parameters/parameter_batches_0.pkl").read_bytes())
    np.testing.assert_allclose(labels[:16, 1], first[1], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["show", "stats", "verify"])
def test_data_commands_print(command: str, trained: Trained, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", command, trained.dataset.uri]) == 0
    assert "Traceback" not in capsys.readouterr().err


PLAIN = """
import sys, keras, numpy as np
model = keras.models.load_model(sys.argv[1])
features = np.random.default_rng(0).random((8, 4, 5), np.float32)
outputs = dict(zip(model.output_names, keras.tree.flatten(model.predict(features, verbose=0))))
zeros = {name: np.zeros_like(each) for name, each in outputs.items()}
model.compile(optimizer="sgd", loss=["mean_absolute_error"] * len(outputs), run_eagerly=True)
model.fit(features, [zeros[name] for name in model.output_names], verbose=0)
model.save(sys.argv[2] + "/again.keras")
keras.models.load_model(sys.argv[2] + "/again.keras").predict(features, verbose=0)
model.export(sys.argv[2] + "/exported", verbose=False)
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[2] + "/exported")
assert len(keras.tree.flatten(loaded.serve(features))) == len(outputs)
assert "synthray" not in sys.modules
"""


@pytest.mark.slow
def test_plain_keras_predicts_fits_saves_and_exports(trained: Trained, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PLAIN, trained.uri, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=tmp_path, env={})
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_numpy_and_keras_predict_the_true_names(trained: Trained) -> None:
    raw, card = read_verified(trained.uri)
    assert card.numpy
    assert tuple(p.name for p in read_card(trained.uri).table.learned) == NAMES
    features = np.random.default_rng(0).random((3, *SHAPE), np.float32)
    found = Predictor.load(trained.uri).predict(features)
    assert tuple(found) == tuple(f"out_{name}" for name in NAMES)
    model = open_model(raw, trained.uri)
    named = dict(zip(model.output_names, keras.tree.flatten(model(features)), strict=True))
    for name in NAMES:
        np.testing.assert_allclose(found[f"out_{name}"], named[output_layer(name)], atol=1e-5)
    by_keras = Predictor(model, card).predict(features)
    for name, values in found.items():
        np.testing.assert_allclose(by_keras[name], values, atol=1e-5)
