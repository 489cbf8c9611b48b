"""A model in its file: when it is written, and when what stands there is kept."""

from __future__ import annotations

from pathlib import Path

from synthray.model.saved import load_model, save_model
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card, build_model


def test_the_same_model_saved_again_keeps_its_file_and_any_other_is_written(tmp_path: Path) -> None:
    """Keras writes other bytes each time; a promotion names those that were there."""

    def save(seed: int, loss: float) -> bytes:
        card = build_card(FOREIGN, FOREIGN_SHAPE, metrics={"loss": loss})
        return Path(save_model(build_model(FOREIGN, FOREIGN_SHAPE, seed=seed), str(tmp_path), card)).read_bytes()

    first = save(0, 1.0)
    assert save(0, 1.0) == first
    other_weights = save(1, 1.0)
    assert other_weights != first
    other_card = save(1, 2.0)
    assert other_card != other_weights
    (tmp_path / "model_2_1.keras").write_bytes(b"damaged")
    save(1, 2.0)
    model, card = load_model(str(tmp_path))
    assert len(model.outputs) == 5
    assert card.metrics == {"loss": 2.0}
