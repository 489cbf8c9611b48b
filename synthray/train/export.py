"""Export the trained state as a model file with its card.

The file's format is in ``synthray.model.saved``.
"""

from __future__ import annotations

from synthray.data.dataset import Dataset
from synthray.model.architectures import ARCHITECTURES
from synthray.model.networks import build_named
from synthray.model.saved import ModelCard, model_name, save_model
from synthray.train.config import TrainConfig
from synthray.train.loop import TrainResult


def export_model(config: TrainConfig, dataset: Dataset, result: TrainResult) -> str:
    """Save the trained model with its named heads and its card; return the URI of the ``.keras`` file."""
    manifest = dataset.manifest
    first, count = config.holdout(manifest)
    card = ModelCard(
        name=model_name(manifest.source["batches"], config.epochs),
        table=manifest.table,
        feature_shape=dataset.feature_shape,
        epochs=config.epochs,
        dataset={
            "uri": dataset.uri,
            "digest": manifest.digest,
            "first_part": manifest.source_parts[0].get("digest", ""),
            "holdout": {"first": first, "count": count},
        },
        config=config.to_json(),
        metrics=result.report,
        sha256="",
        bins=ARCHITECTURES[config.network].bins,
        analysis=dataset.analysis,
    )
    with result.state.averaged():
        weights = result.state.model.get_weights()
    model = build_named(
        config.network,
        dataset.feature_shape,
        manifest.table,
        config.width,
        weights,
        normalise=config.normalises(dataset),
    )
    return save_model(model, config.out, card)
