"""The model that the package ships, and the script that puts it there."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from infra import ship_model
from synthray.match.match import match
from synthray.match.sound import is_instrument_model
from synthray.model.heads import INPUT_NAME
from synthray.model.predictor import Predictor
from synthray.model.registry import served_model
from synthray.model.saved import load_model, read_verified, save_model
from synthray.model.shipped import shipped_model
from synthray.synth.instrument import INSTRUMENT
from tests.models import build_card, build_model

REPOSITORY = Path(__file__).parents[2]
LARGEST_BYTES = 10_000_000


def test_shipped_model_is_small_and_fits_the_instrument(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = shipped_model()
    assert Path(file).stat().st_size < LARGEST_BYTES
    _, card = read_verified(file)
    assert card.table == INSTRUMENT
    assert card.numpy  # so that a match needs neither TensorFlow nor Keras
    monkeypatch.setenv("SYNTHRAY_HOME", str(tmp_path))
    assert served_model() == served_model("shipped") == file
    assert is_instrument_model(Predictor.load(file))


def test_shipped_model_matches_a_sound_better_than_a_random_preset(sound: np.ndarray) -> None:
    predictor = Predictor.load(shipped_model())
    found = match(predictor, sound)
    assert found.distance_db < 10  # a random preset is at 15
    assert match(predictor, sound, max_evaluations=500).distance_db < 0.8 * found.distance_db


@pytest.mark.slow
def test_ship_model_rounds_and_compresses_and_keeps_answers(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    model = build_model(INSTRUMENT, (20, 551), seed=1)
    uri = save_model(model, str(tmp_path), build_card(INSTRUMENT, (20, 551), config={"out": "/home/me"}))
    command = [sys.executable, "infra/ship_model.py", uri, "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    shipped, card = load_model(f"{tmp_path}/shipped.keras")
    assert card.name == "shipped"
    assert "out" not in card.config
    assert Path(tmp_path, "shipped.keras").stat().st_size < 0.7 * Path(uri).stat().st_size
    features = np.random.default_rng(0).random((5, 20, 551), np.float32)
    for one, other in zip(model({INPUT_NAME: features}), shipped({INPUT_NAME: features}), strict=True):
        np.testing.assert_allclose(one, other, atol=0.05)
    for weight in shipped.get_weights():
        assert not (weight.view(np.uint32) & 0x3FFFF).any()  # 5 bits of the mantissa are kept


def test_compressed_hdf5_holds_the_same_and_is_smaller_than_a_zip_of_it() -> None:
    weights = ship_model.rounded(np.random.default_rng(0).normal(size=(1000, 500)).astype(np.float32))
    raw = io.BytesIO()
    with h5py.File(raw, "w") as file:
        file.attrs["version"] = 3
        file.create_group("empty").attrs["name"] = "none"
        file["layers/dense/vars/0"] = weights
        file["steps"] = 7
    compressed = ship_model.compressed_hdf5(raw.getvalue())
    assert len(compressed) < 0.9 * len(zlib.compress(raw.getvalue()))
    with h5py.File(io.BytesIO(compressed)) as file:
        assert file.attrs["version"] == 3
        assert file["empty"].attrs["name"] == "none"
        assert file["steps"][()] == 7
        np.testing.assert_array_equal(file["layers/dense/vars/0"], weights)


def test_ship_model_of_another_instrument_is_refused(
    monkeypatch: pytest.MonkeyPatch, model_folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["ship_model.py", f"{model_folder}/foreign/model_3_1.keras", "--out", str(tmp_path)]
    )
    with pytest.raises(SystemExit, match="trained on another instrument"):
        ship_model.main()
    assert not list(tmp_path.iterdir())


def test_ship_model_that_is_too_large_keeps_the_present_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    present = tmp_path / "shipped.keras"
    present.write_bytes(b"present")
    monkeypatch.setattr(ship_model, "MAX_MB", 0.001)
    with pytest.raises(SystemExit, match=r"MB, more than 0\.001\. Train a narrower network"):
        ship_model.write_small(build_model(INSTRUMENT, (20, 551), seed=1), present)
    assert present.read_bytes() == b"present"
    assert list(tmp_path.iterdir()) == [present]
