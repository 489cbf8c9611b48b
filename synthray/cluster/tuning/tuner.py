"""A search on Ray Tune: parallel trials with early stopping (ASHA). A single trial is in ``trial.py``."""

from __future__ import annotations

import logging
import math
import os
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from synthray.cluster import loader
from synthray.cluster.background import Background
from synthray.cluster.signals import stop_requests
from synthray.cluster.tuning.trial import run_trial
from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.errors import TrainingError, summary
from synthray.model.architectures import ARCHITECTURES
from synthray.storage import scratch_folder
from synthray.train.config import TrainConfig
from synthray.tune.config import SearchConfig
from synthray.tune.results import STOPPED, UNFINISHED, SearchFolder, Trial
from synthray.tune.tracker import ResultTracker, TrialEvent

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as RayTrial

# At each of its decisions, ASHA continues one in this many trials.
_REDUCTION_FACTOR = 3
# Share of the epochs before ASHA's first decision.
_GRACE_SHARE = 0.1
# A trial whose process was lost is started again, from its last checkpoint.
_MAX_RESTARTS = 2
_POLL_S = 0.2
# Tune waits 5 s for its trials before it kills them.
_STOP_TIMEOUT_S = 10.0
# A stopped process may still be writing its last checkpoint, which must not be deleted before it is complete.
_SETTLE_S = 1.0


def search(config: SearchConfig, log: Callable[[str], None], *, verbose: bool = False) -> SearchFolder:
    """Run the trials that have no result yet, and write the results.

    Table and best settings go to ``config.out``. Results are written when a trial ends. After an interrupt, the same
    search runs the other trials, from their last checkpoints.

    Args:
        config: the search.
        log: called with a line of text after each trial.
        verbose: show the output of Ray Tune.

    Raises:
        ConfigError: a setting cannot be trained on this data set, or ``out`` holds a search on other data.
        TrainingError: no trial finished an epoch.
        CorruptShard, StorageError: the data set cannot be read.
        KeyboardInterrupt: the search was interrupted.
    """
    dataset = open_dataset(config.data)
    configs = config.configs(dataset.manifest)
    analyses = {ARCHITECTURES[each.network].analysis for each in configs}
    folder = SearchFolder(config, dataset.manifest)
    folder.load()
    trials = [folder.get(Trial.of(each, dataset.manifest)) for each in configs]
    digests = [each.run_digest(dataset.manifest) for each in configs]
    if done := sum(trial.is_done for trial in trials):
        log(f"{done} of {len(trials)} trials were finished by an earlier search")
    if done < len(trials):
        cached = dataset.with_analysis(analyses.pop()) if len(analyses) == 1 else None
        _Search(config, configs, cached, trials, folder, log).run(verbose=verbose)
        if left := sum(not folder.get(trial).is_done for trial in trials):
            log(f"{left} of {len(trials)} trials are unfinished. To continue, run the same command again.")
    folder.delete_checkpoints(zip(map(folder.get, trials), digests, strict=True))
    folder.write()
    if folder.best is None:
        reason = f"The first one: {folder.ranked[0].reason}" if folder.ranked else "The time limit was reached."
        raise TrainingError(f"search: no trial finished an epoch. {reason}")
    return folder


@dataclass
class _Search:
    """The run of those trials that have no result yet."""

    config: SearchConfig
    configs: list[TrainConfig]
    dataset: Dataset | None
    """The data set that all trials read; None if they need different features and cannot share a cache."""
    trials: list[Trial]
    folder: SearchFolder
    log: Callable[[str], None]

    def run(self, *, verbose: bool) -> None:
        """Run Tune in the background, and write the result of each trial."""
        pending = [number for number, trial in enumerate(self.trials) if not trial.is_done]
        cache = loader.cache_dataset(self.dataset) if self.dataset else None
        cached_shards = cache.wait() if cache else None
        trainable = tune.with_parameters(run_trial, configs=self.configs, cached_shards=cached_shards)
        events, stopper = _Events(), _Stopper()
        with scratch_folder("tune") as scratch:
            tuner = tune.Tuner(
                tune.with_resources(trainable, _resources(self.config, len(pending), streams=cached_shards is None)),
                param_space={"number": tune.grid_search(pending)},
                tune_config=tune.TuneConfig(
                    scheduler=_scheduler(self.config.epochs),
                    max_concurrent_trials=_trials_at_once(self.config, len(pending)),
                    time_budget_s=self.config.minutes and self.config.minutes * 60,
                    reuse_actors=True,  # starting TensorFlow takes seconds
                ),
                # Results and checkpoints go to --out. Tune only needs a folder for its own state.
                run_config=tune.RunConfig(
                    name=f"synthray-{uuid.uuid4().hex[:12]}",
                    storage_path=str(scratch),
                    stop=stopper,
                    failure_config=tune.FailureConfig(max_failures=_MAX_RESTARTS),
                    callbacks=[events],
                    verbose=2 if verbose else 0,
                ),
            )
            self._follow(tuner, events, stopper)
        time.sleep(_SETTLE_S)

    def _follow(self, tuner: tune.Tuner, events: _Events, stopper: _Stopper) -> None:
        """Wait for Tune to end and handle its events.

        This is done in the main thread, which can be interrupted.
        """
        minutes = self.config.minutes
        deadline_s = time.monotonic() + minutes * 60 if minutes else math.inf
        tracker = ResultTracker(self.trials, self.folder, self.log, deadline_s)
        tuning = Background(tuner.fit)
        running = True
        with stop_requests() as stop_requested:
            while running and not stop_requested.is_set():
                running = not tuning.wait(_POLL_S)
                tracker.take_all(events.queue)
                tracker.log_if_silent()
            if running:
                stopper.requested = True
                tuning.wait(_STOP_TIMEOUT_S)
                tracker.take_all(events.queue)
                raise stop_requested.interruption(
                    f"interrupted after {tracker.count} trials. To continue, run the same command again."
                )
        if tuning.error:
            raise TrainingError(f"search: Ray Tune failed ({summary(tuning.error)}).") from tuning.error


def _scheduler(epochs: int) -> ASHAScheduler:
    return ASHAScheduler(
        time_attr="epoch",
        metric="val_loss",
        mode="min",
        max_t=epochs,
        grace_period=max(1, math.ceil(epochs * _GRACE_SHARE)),
        reduction_factor=_REDUCTION_FACTOR,
    )


def _trials_at_once(config: SearchConfig, trials: int) -> int:
    cluster = ray.cluster_resources()
    slots = config.trials_at_once or int(cluster.get("GPU", 0)) or int(cluster.get("CPU", 1))
    return max(1, min(slots, trials))


def _resources(config: SearchConfig, trials: int, *, streams: bool) -> dict[str, float]:
    """Return a trial's resources: a GPU if there is any, and its share of CPUs."""
    cluster = ray.cluster_resources()
    node_cpus = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    cpus = min(cluster.get("CPU", 1) / _trials_at_once(config, trials), max(node_cpus, default=1))
    # a streamed data set needs the other half for its reader tasks
    cpus = cpus / 2 if streams else cpus
    cpus = math.floor(cpus) if cpus >= 1 else cpus
    return {"CPU": cpus, "GPU": 1} if config.gpu or cluster.get("GPU", 0) else {"CPU": cpus}


@dataclass
class _Stopper(tune.Stopper):  # type: ignore[misc]  # Ray has no types
    """Ends the search when ``requested`` is set."""

    requested: bool = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002 - Tune calls it by position
        return False

    def stop_all(self) -> bool:
        return self.requested


@dataclass
class _Events(tune.Callback):  # type: ignore[misc]  # Ray has no types
    """A queue of events for the main thread.

    Tune hides exceptions of its callbacks, so the events are handled elsewhere.
    """

    queue: deque[TrialEvent] = field(default_factory=deque)

    def on_trial_result(self, trial: RayTrial, result: dict[str, Any], **_: Any) -> None:
        if result.get("report"):
            self.queue.append(TrialEvent(trial.config["number"], dict(result["report"])))

    def on_trial_complete(self, trial: RayTrial, **_: Any) -> None:
        last = trial.last_result or {}
        ended, seconds = last.get("ended", STOPPED), last.get("time_total_s", 0.0)
        self.queue.append(TrialEvent(trial.config["number"], None, ended, last.get("reason", ""), seconds))

    def on_trial_error(self, trial: RayTrial, **_: Any) -> None:
        reason = summary(trial.get_error() or "its process was lost")
        self.queue.append(TrialEvent(trial.config["number"], None, UNFINISHED, reason))


def silence_ray_tune(*, verbose: bool) -> None:
    """Turn off Ray Tune's own log files and, unless ``verbose``, its output.

    Call it before the first use of Tune.
    """
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # trials.csv replaces its CSV and JSON files
    if not verbose:
        os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")  # the reason is in our line for the trial
        os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output ignores verbose=0 for some lines
    for name in ("ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.CRITICAL)
