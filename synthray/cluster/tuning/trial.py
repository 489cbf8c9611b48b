"""One trial of a search, as a Ray Tune trainable. The search itself is in ``tuner.py``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import ray
from ray import tune

from synthray import errors
from synthray.cluster import loader
from synthray.cluster.quick_import import quick_import
from synthray.data.dataset import Dataset
from synthray.synth.voice import usable_cores
from synthray.train.checkpoint import CheckpointFolder
from synthray.train.config import TrainConfig
from synthray.train.reports import EpochReport
from synthray.tune.results import FAILED, UNFINISHED


def run_trial(
    settings: dict[str, int], configs: list[TrainConfig], cached_shards: dict[int, ray.ObjectRef] | None
) -> None:
    """Train one configuration and report each epoch to Tune.

    ``settings["number"]`` is the index of the configuration. Tune raises SystemExit from ``tune.report`` to stop the
    trial early.
    """
    config = configs[settings["number"]]
    dataset = config.open_data()
    try:
        finished = _finished_epochs(config, config.run_digest(dataset.manifest))[: config.epochs]
        for report in finished:
            _report(report)
        if len(finished) < config.epochs:
            _train(config, dataset, cached_shards)
    except errors.SynthrayError as error:
        ended = UNFINISHED if errors.is_transient(error) else FAILED
        # epoch 0 is below ASHA's grace period, so the NaN is not compared with other trials
        tune.report({"epoch": 0, "val_loss": math.nan, "ended": ended, "reason": str(error)})


def _report(report: dict[str, Any]) -> None:
    tune.report({"epoch": report["epoch"], "val_loss": report["val_loss"], "report": report})


def _finished_epochs(config: TrainConfig, digest: str) -> list[dict[str, Any]]:
    """Return the reports of the epochs before the latest checkpoint."""
    with CheckpointFolder(config.out, digest, config.keep_checkpoints) as folder:
        newest = folder.newest()
        return newest[1].progress.history if newest else []


def _train(config: TrainConfig, dataset: Dataset, cached_shards: dict[int, ray.ObjectRef] | None) -> None:
    with quick_import():
        import keras
        import tensorflow as tf

    from synthray.train import loop

    keras.backend.clear_session()  # frees the model of the previous trial: Tune reuses the process
    _limit_threads(tf)
    order = config.order(dataset.manifest)

    def batches(start: tuple[int, int]) -> Iterator[loader.Share]:
        return loader.worker_shares(dataset, order, cached_shards, start, config.epochs)

    def report(epoch: EpochReport) -> None:
        _report(asdict(epoch))

    loop.run(config, dataset, tf.distribute.get_strategy(), loop.WorkerContext(), batches, report)


def _limit_threads(tf: Any) -> None:
    """Give TensorFlow one thread per CPU of the trial.

    TensorFlow accepts this only before its first operation.
    """
    cpus = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
    threads = max(1, min(int(cpus), usable_cores()))
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
