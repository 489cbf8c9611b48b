"""What a trial of a search does on Ray."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import ray
from ray import tune

from synthray import errors
from synthray.cluster import loader
from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.train.checkpoint import CheckpointFolder
from synthray.train.config import TrainConfig
from synthray.train.reports import EpochReport
from synthray.tune.results import FAILED, UNFINISHED


def run_trial(settings: dict[str, int], configs: list[TrainConfig], held: dict[int, ray.ObjectRef] | None) -> None:
    """One trial, in a process of its own. Tune raises SystemExit from ``tune.report`` when it has seen enough."""
    config = configs[settings["number"]]
    dataset = open_dataset(config.data)
    try:
        known = _history(config, config.run_digest(dataset.manifest))[: config.epochs]
        for report in known:
            tune.report({"epoch": report["epoch"], "val_loss": report["val_loss"], "report": report})
        if len(known) < config.epochs:
            _train(config, dataset, held)
    except errors.SynthrayError as error:
        # a store may come back; anything else would end the same way next time
        passing = isinstance(error, errors.StorageError) and not isinstance(error, errors.NotFound)
        ended = UNFINISHED if passing else FAILED
        # of epoch 0: what comes before ASHA's first look is not compared
        tune.report({"epoch": 0, "val_loss": math.nan, "ended": ended, "reason": str(error)})


def _history(config: TrainConfig, digest: str) -> list[dict[str, Any]]:
    """The epochs that this trial has behind it, where it goes on from a checkpoint."""
    with CheckpointFolder(config.out, digest, config.keep_checkpoints) as folder:
        newest = folder.latest_valid()
        return folder.load(newest).progress.history if newest else []


def _train(config: TrainConfig, dataset: Dataset, held: dict[int, ray.ObjectRef] | None) -> None:
    import keras
    import tensorflow as tf

    from synthray.train import loop

    keras.backend.clear_session()  # the trial before it in this process
    _limit_threads(tf)
    order = config.order(dataset.manifest)

    def batches(start: tuple[int, int]) -> Iterator[loop.Share]:
        if held is None:
            return loader.stream_batches(dataset, order, start, config.epochs, 0, 1)
        memory = loader.CachedReader(held, dataset)
        return ((memory.take(rows), rows) for rows in order.worker_batches(start, config.epochs, 0, 1))

    def report(epoch: EpochReport) -> None:
        tune.report({"epoch": epoch.epoch, "val_loss": epoch.val_loss, "report": asdict(epoch)})

    loop.run(config, dataset, tf.distribute.get_strategy(), loop.WorkerContext(), batches, report)


def _limit_threads(tf: Any) -> None:
    """As many threads as the trial has processors; TensorFlow takes that only before it is first used."""
    granted = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
    threads = max(1, min(int(granted), len(os.sched_getaffinity(0))))
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
