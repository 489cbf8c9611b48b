"""Saved models: written once, read back with their card, and refused when corrupt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from synthray.errors import ModelError, NotFound
from synthray.model.saved import load_model, resolve_model, save_model
from synthray.synth.instrument import INSTRUMENT
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card, build_model


def save_foreign(folder: Path) -> str:
    return save_model(build_model(FOREIGN, FOREIGN_SHAPE), str(folder), build_card(FOREIGN, FOREIGN_SHAPE))


def test_save_model_keeps_an_identical_model_and_replaces_any_other(tmp_path: Path) -> None:
    """Keras writes other bytes each time, and a promotion names a SHA-256."""

    def save(seed: int, loss: float) -> bytes:
        card = build_card(FOREIGN, FOREIGN_SHAPE, metrics={"loss": loss})
        return Path(save_model(build_model(FOREIGN, FOREIGN_SHAPE, seed=seed), str(tmp_path), card)).read_bytes()

    first = save(0, 1.0)
    assert save(0, 1.0) == first
    other_weights = save(1, 1.0)
    assert other_weights != first
    other_card = save(1, 2.0)
    assert other_card != other_weights
    (tmp_path / "model_2_1.keras").write_bytes(b"corrupt")
    save(1, 2.0)
    model, card = load_model(str(tmp_path))
    assert len(model.outputs) == 5
    assert card.metrics == {"loss": 2.0}


@pytest.mark.slow
def test_saved_network_opens_in_plain_keras(tmp_path: Path) -> None:
    from synthray.model.networks import build_named

    model = build_named("notebook", (20, 551), INSTRUMENT)
    uri = save_model(model, str(tmp_path), build_card(INSTRUMENT, (20, 551), "model_9_20"))
    assert uri == str(tmp_path / "model_9_20.keras")
    program = (
        "import sys, keras, numpy as np; "
        f"model = keras.models.load_model({uri!r}); "
        "outputs = model.predict(np.zeros((2, 20, 551)), verbose=0); "
        "assert not any(name.startswith('synthray') for name in sys.modules); "
        "print(model.input.name, len(model.outputs), model.output_names[0], len(keras.tree.flatten(outputs)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PATH": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.stdout.split() == ["in_fft", "38", "out_oscillator_1_waveform", "38"]


@pytest.mark.parametrize("network", ["notebook", "log"])
def test_load_model_returns_the_saved_weights_and_card(network: str, tmp_path: Path) -> None:
    from synthray.model.networks import build_named

    saved = build_named(network, FOREIGN_SHAPE, FOREIGN, width=4)
    uri = save_model(saved, str(tmp_path), build_card(FOREIGN, FOREIGN_SHAPE))
    features = np.random.default_rng(0).random((3, *FOREIGN_SHAPE), np.float32)
    for where in (uri, str(tmp_path)):
        model, card = load_model(where)
        assert card.table == FOREIGN
        assert len(card.sha256) == 64
        for weights, expected in zip(model.get_weights(), saved.get_weights(), strict=True):
            np.testing.assert_array_equal(weights, expected)
        for output, expected in zip(model(features), saved(features), strict=True):
            np.testing.assert_array_equal(output, expected)


def test_resolve_model_without_a_model_raises_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHRAY_HOME", str(tmp_path))
    with pytest.raises(NotFound, match=r"/models holds no model\. Run synthray train"):
        resolve_model()
    with pytest.raises(NotFound, match=r"no model at .*x\.keras\. Run synthray train"):
        load_model(str(tmp_path / "x.keras"))
    uri = save_foreign(tmp_path / "models" / "a")
    assert resolve_model() == uri


def test_load_model_of_a_corrupt_file_or_card_raises_model_error(tmp_path: Path) -> None:
    uri = save_foreign(tmp_path)
    Path(uri).write_bytes(Path(uri).read_bytes()[:-1])
    with pytest.raises(ModelError, match="does not match its card: its SHA-256 differs"):
        load_model(uri)
    Path(uri).with_suffix(".json").write_text("{}")
    with pytest.raises(ModelError, match="is not a model card"):
        load_model(uri)


def test_load_model_refuses_pickled_python_code(tmp_path: Path) -> None:
    import keras

    features = keras.Input((4,))
    model = keras.Model(features, keras.layers.Lambda(lambda x: x + 1)(features))
    uri = save_model(model, str(tmp_path), build_card(FOREIGN, FOREIGN_SHAPE))
    with pytest.raises(ModelError, match=r"(?s)cannot be opened by Keras: .*unsafe"):
        load_model(uri)
