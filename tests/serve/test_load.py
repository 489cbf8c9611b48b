"""Loading of a model for the service: models with a wrong digest or unusable outputs are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthray.errors import ModelError
from synthray.model.predictor import Predictor
from synthray.model.saved import save_model
from synthray.serve.models.load import load_predictor, require_usable
from synthray.synth.parameters import Choice
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card, build_model


def test_load_predictor_of_a_usable_model_returns_it(model_folder: Path) -> None:
    assert load_predictor(f"{model_folder}/foreign/model_3_1.keras").card.name == "model_3_1"


def test_load_predictor_of_a_corrupt_or_diverged_model_raises(tmp_path: Path) -> None:
    model = build_model(FOREIGN, FOREIGN_SHAPE)
    model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    uri = save_model(model, str(tmp_path), build_card(FOREIGN, FOREIGN_SHAPE))
    with pytest.raises(ModelError, match=r"model_2_1: output 'out_osc_shape' is not finite for a test input\. Train"):
        load_predictor(uri)
    Path(uri).write_bytes(Path(uri).read_bytes()[:-1])
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_predictor(uri)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (Choice, lambda values: values * 1.01, r"probabilities of 'out_osc_shape' sum to \[1\.0"),
        (Choice, lambda values: values[:, :-1], r"output 'out_osc_shape' has shape \(2, 2\), expected \(2, 3\)"),
        (object, lambda values: values[:1], r"output 'out_osc_shape' has shape \(1, 3\), expected \(2, 3\)"),
    ],
)
def test_require_usable_wrong_outputs_raise(foreign_predictor: Predictor, kind: type, change, message: str) -> None:
    class Changed:
        card, frames, bins = foreign_predictor.card, foreign_predictor.frames, foreign_predictor.bins

        def predict(self, features: np.ndarray) -> dict[str, np.ndarray]:
            assert features.shape == (2, *FOREIGN_SHAPE)
            assert not features[0].any()
            outputs = foreign_predictor.predict(features)
            return {f"out_{p.name}": change(outputs[f"out_{p.name}"]) for p in FOREIGN.learned if isinstance(p, kind)}

    with pytest.raises(ModelError, match=message):
        require_usable(Changed())
