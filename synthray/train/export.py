"""From trained state to the model that is kept."""

from __future__ import annotations

from synthray.data.dataset import Dataset
from synthray.model.networks import unfuse
from synthray.model.saved import ModelCard, model_name, save_model
from synthray.train.config import TrainConfig
from synthray.train.loop import TrainResult


def export_model(config: TrainConfig, dataset: Dataset, trained: TrainResult) -> str:
    """Save the trained model with its named heads and its card; returns the URI of the ``.keras`` file."""
    manifest = dataset.manifest
    first, count = config.holdout(manifest.rows)
    card = ModelCard(
        name=model_name(manifest.source["batches"], config.epochs),
        table=manifest.table,
        feature_shape=manifest.feature_shape,
        epochs=config.epochs,
        dataset={"uri": dataset.uri, "digest": manifest.digest, "holdout": {"first": first, "count": count}},
        config=config.to_json(),
        metrics=trained.report,
        sha256="",
    )
    with trained.steps.averaged():
        weights = trained.steps.model.get_weights()
    model = unfuse(weights, config.network, manifest.feature_shape, manifest.table, config.width)
    return save_model(model, config.out, card)
