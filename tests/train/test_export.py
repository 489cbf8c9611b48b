"""The saved model, its card, and the check for a model that is already there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synthray.data.dataset import Dataset
from synthray.errors import ConfigError
from synthray.model.saved import load_model
from synthray.train.config import already_trained
from synthray.train.export import export_model
from tests.train.training import make_config, train


@pytest.mark.slow
def test_exported_model_predicts_as_trained_and_its_card_names_the_training(dataset: Dataset, tmp_path: Path) -> None:
    config = make_config(dataset, tmp_path, epochs=1)
    result = train(config, dataset)
    uri = export_model(config, dataset, result)
    assert uri == str(tmp_path / "model_7_1.keras")
    model, card = load_model(uri)
    rows = dataset.manifest.rows
    assert card.dataset["digest"] == dataset.manifest.digest
    assert card.dataset["first_part"] == dataset.manifest.source["digest"]
    assert card.dataset["holdout"] == {"first": rows - rows // 9, "count": rows // 9}
    assert card.metrics == result.history[-1]
    assert card.config["batch_size"] == 48
    features = dataset.take(np.arange(5)).features
    named = np.concatenate([np.asarray(out) for out in model(features)], axis=1)
    fused = np.asarray(result.state.model(features))
    np.testing.assert_allclose(named[:, 5:7], fused[:, 5:7], rtol=1e-5)


@pytest.mark.slow
def test_model_of_another_training_is_not_replaced(dataset: Dataset, tmp_path: Path) -> None:
    config = make_config(dataset, tmp_path, epochs=1)
    assert already_trained(config, dataset.manifest) == ""
    uri = export_model(config, dataset, train(config, dataset))
    assert already_trained(config, dataset.manifest) == uri
    assert already_trained(replace(config, epochs=2), dataset.manifest) == ""
    with pytest.raises(ConfigError, match=r"model_7_1\.keras: trained with other settings.*another --out"):
        already_trained(replace(config, learning_rate=0.5), dataset.manifest)
    Path(uri).write_bytes(b"corrupt")
    assert already_trained(config, dataset.manifest) == ""
