"""The script that trains the heads of a model by the sounds of their answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from infra import train_by_sound
from synthray.model.predictor import Predictor
from synthray.model.saved import load_model, read_card
from synthray.model.shipped import shipped_model

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_model_trained_by_sounds_has_other_heads_and_true_metrics(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    command = [sys.executable, "infra/train_by_sound.py", shipped_model(), "--out", str(tmp_path), "--sounds", "64"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    uri = f"{tmp_path}/shipped_by_sound.keras"
    assert done.stdout.startswith(f"wrote {uri}")
    before, _ = load_model(shipped_model())
    after, card = load_model(uri)
    for layer in before.layers:
        pairs = list(zip(layer.get_weights(), after.get_layer(layer.name).get_weights(), strict=True))
        is_tilted_head = (
            layer.name.startswith(("out_", "histogram_")) and bool(pairs) and not layer.name.endswith("_pitch")
        )
        for number, (one, other) in enumerate(pairs):
            assert np.array_equal(one, other) != (is_tilted_head and number == 0), layer.name
    assert card.config["by_sound"]["sounds"] == 64
    assert card.config["by_sound"]["of"] == read_card(shipped_model()).sha256
    # 64 sounds change little, so the metrics must be nearly those of the training, which TensorFlow has computed.
    assert card.metrics["val_loss"] == pytest.approx(read_card(shipped_model()).metrics["val_loss"], rel=0.01)
    assert card.metrics["val_accuracy"] == pytest.approx(read_card(shipped_model()).metrics["val_accuracy"], abs=0.01)
    assert card.numpy
    Predictor.load(uri)
    monkeypatch.setattr("sys.argv", command[1:])
    train_by_sound.main()
    assert "is already trained" in capsys.readouterr().out


def test_a_model_of_another_instrument_is_refused(
    monkeypatch: pytest.MonkeyPatch, model_folder: Path, tmp_path: Path
) -> None:
    model = f"{model_folder}/foreign/model_3_1.keras"
    monkeypatch.setattr("sys.argv", ["train_by_sound.py", model, "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="not a network with histograms of this instrument"):
        train_by_sound.main()
    assert not list(tmp_path.iterdir())
