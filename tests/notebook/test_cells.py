"""The original notebook's cells run on generated batches and print the numbers that they print there."""

from __future__ import annotations

import runpy
from pathlib import Path

import keras
import numpy as np
import pytest

from synthray.data.build.generate_config import GenerateConfig
from synthray.data.build.notebook_writer import finish, write_batch

CELLS = Path(__file__).with_name("cells.py")


@pytest.mark.slow
def test_notebook_cells_run_on_generated_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = GenerateConfig(str(tmp_path / "training_data"), batches=9)
    finish(config)
    for number in range(config.batches):
        write_batch(config, number)
    (tmp_path / "keras_models").mkdir()
    monkeypatch.chdir(tmp_path)
    keras.backend.clear_session()  # so that layer numbers begin as in a new process
    cells = runpy.run_path(str(CELLS))

    assert cells["X_batch_example"].shape == (32, 20, 551)
    assert len(cells["y_batch_example"]) == 46
    assert cells["y_batch_example"][0] == "constant"
    assert cells["y_batch_example"][9].shape == (32,)
    assert cells["y_batch_example"][10].shape == (32, 3)
    model = cells["model"]
    weights = {layer.name: layer.count_params() for layer in model.layers}
    assert weights["conv1d"] == 423_424
    assert weights["dense"] == 1_179_904
    assert weights["out_amplitude_envelope_release"] == 257
    assert weights["out_amplitude_lfo_waveform"] == 1_028
    assert weights["out_amplitude_lfo_frequency"] == 257
    outputs = model.output_names
    assert len(outputs) == 38
    first = outputs.index("out_amplitude_envelope_release")
    assert outputs[first : first + 3] == [
        "out_amplitude_envelope_release",
        "out_amplitude_lfo_waveform",
        "out_amplitude_lfo_frequency",
    ]
    losses = cells["history"].history["loss"]
    assert len(losses) == 20
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert (tmp_path / "keras_models" / "model_9_20.keras").exists()
    assert "423,424" in capsys.readouterr().out
