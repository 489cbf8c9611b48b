"""Saved models: written once, read back with their card, and refused when corrupt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from synthray.errors import Conflict, ModelError, NotFound
from synthray.model.saved import load_model, resolve_model, save_model
from synthray.storage.local import LocalStore
from synthray.synth.instrument import INSTRUMENT
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card, build_model


def save_foreign(folder: Path) -> str:
    return save_model(build_model(FOREIGN, FOREIGN_SHAPE), str(folder), build_card(FOREIGN, FOREIGN_SHAPE))


def save(folder: Path, seed: int, loss: float = 1.0) -> str:
    card = build_card(FOREIGN, FOREIGN_SHAPE, metrics={"loss": loss})
    return save_model(build_model(FOREIGN, FOREIGN_SHAPE, seed=seed), str(folder), card)


def test_save_model_keeps_an_identical_model_and_refuses_any_other(tmp_path: Path) -> None:
    """Keras writes other bytes each time, and a promotion names a SHA-256."""
    uri = save(tmp_path, 0)
    first = Path(uri).read_bytes()
    assert Path(save(tmp_path, 0)).read_bytes() == first
    save(tmp_path, 0, loss=2.0)  # trained once more: the times of its epochs differ
    with pytest.raises(Conflict, match=rf"^{uri}: another training has saved its model here.* Give another --out\.$"):
        save(tmp_path, 1)
    model, card = load_model(str(tmp_path))
    assert len(model.outputs) == 5
    assert card.metrics == {"loss": 1.0}
    assert Path(uri).read_bytes() == first


@pytest.mark.faults
@pytest.mark.parametrize("damage", ["corrupt", "no card", "corrupt card", "neither opens", "of another file"])
def test_save_model_repairs_what_a_killed_job_or_a_bad_disk_left(damage: str, tmp_path: Path) -> None:
    file, card = Path(save(tmp_path, 0)), tmp_path / "model_2_1.json"
    if damage in ("corrupt", "neither opens"):
        file.write_bytes(b"corrupt")
    if damage == "no card":
        card.unlink()
    if damage in ("corrupt card", "neither opens"):
        card.write_bytes(b"{")
    if damage == "of another file":
        file.write_bytes(Path(save(tmp_path / "other", 1)).read_bytes())
    save(tmp_path, 0)
    loaded, _ = load_model(str(tmp_path))
    expected = build_model(FOREIGN, FOREIGN_SHAPE, seed=0)
    for one, other in zip(loaded.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.faults
@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)], ids=["the same", "another"])
@pytest.mark.parametrize("moment", ["model_2_1.keras", "model_2_1.json"])
def test_save_model_by_two_trainings_at_once_leaves_one_whole_model(
    seeds: tuple[int, int], moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second training saves in the moment before the first one writes a file."""
    write, outcomes = LocalStore.write, []

    def write_later(store: LocalStore, path: str, data: bytes, **options: bool) -> None:
        if path == moment:
            monkeypatch.setattr(LocalStore, "write", write)
            try:
                outcomes.append(save(tmp_path, seeds[1]))
            except Conflict as error:
                outcomes.append(error)
        write(store, path, data, **options)

    monkeypatch.setattr(LocalStore, "write", write_later)
    try:
        outcomes.append(save(tmp_path, seeds[0]))
    except Conflict as error:
        outcomes.append(error)
    lost = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
    assert len(outcomes) == 2
    assert len(lost) == len(set(seeds)) - 1
    load_model(str(tmp_path))  # whole: the card names the file's SHA-256


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
