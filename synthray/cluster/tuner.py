"""A search on Ray Tune: trials beside each other, each in a process of its own, the bad ones stopped early."""

from __future__ import annotations

import logging
import math
import os
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from synthray.cluster import loader
from synthray.cluster.background import Background
from synthray.cluster.trial import run_trial
from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.errors import TrainingError, summary
from synthray.train.config import TrainConfig
from synthray.tune.results import FINISHED, STOPPED, UNFINISHED, SearchConfig, SearchFolder, Trial
from synthray.tune.space import TUNABLE

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as RayTrial

# Of as many trials as this, one goes on at each of ASHA's looks; the first comes after a tenth of the epochs.
_REDUCTION = 3
_SHARE_BEFORE_FIRST_LOOK = 0.1
# A lost process is started again, and goes on from its checkpoint.
_RESTARTS = 2
_POLL_S = 0.2
_END_S = 5.0
# So long a process that was told to end may still be writing its last checkpoint.
_SETTLE_S = 1.0
_SECONDS_BETWEEN_LINES = 30.0


def search(config: SearchConfig, tell: Callable[[str], None], *, verbose: bool = False) -> SearchFolder:
    """Try the settings that are not tried yet, and leave table and best settings at ``config.out``.

    What a trial came to is written when it ends: an interrupt loses none that did, and the same search goes on with the
    others, from their last checkpoints.

    Args:
        tell: is given a line for people after each trial.
        verbose: let Ray Tune say what it does.

    Raises:
        ConfigError: a setting cannot be trained on this data set, or ``out`` holds a search on another.
        TrainingError: no trial has come to the end of an epoch.
        CorruptShard, StorageError: the data set cannot be read.
    """
    dataset = open_dataset(config.data)
    configs = config.configs(dataset.manifest)
    folder = SearchFolder(config, dataset.manifest)
    folder.load()
    trials = [folder.get(Trial.of(each, dataset.manifest)) for each in configs]
    digests = [each.run_digest(dataset.manifest) for each in configs]
    to_do = [trial for trial in trials if not trial.done]
    if len(to_do) < len(trials):
        tell(f"{len(trials) - len(to_do)} of {len(trials)} trials are known from an earlier search")
    if to_do:
        _run(config, configs, dataset, trials, folder, tell, verbose=verbose)
        if left := sum(not folder.get(trial).done for trial in trials):
            tell(f"{left} of {len(trials)} trials have not ended: the same command goes on with them")
    folder.clear(zip(map(folder.get, trials), digests, strict=True))
    folder.write()
    if folder.best is None:
        why = folder.ranked[0].reason if folder.ranked else "the time was up"
        raise TrainingError(f"no trial came to the end of an epoch; the first one: {why}")
    return folder


def _run(
    config: SearchConfig,
    configs: list[TrainConfig],
    dataset: Dataset,
    trials: list[Trial],
    folder: SearchFolder,
    tell: Callable[[str], None],
    *,
    verbose: bool,
) -> None:
    """Run those trials that have not ended."""
    to_do = [number for number, trial in enumerate(trials) if not trial.done]
    scheduler = _scheduler(config.epochs, [trial for trial in trials if trial.done])
    held = (holding := loader.cache_dataset(dataset)) and holding.wait()
    trainable = tune.with_parameters(run_trial, configs=configs, held=held)
    watch = _Watch()
    with tempfile.TemporaryDirectory(prefix="synthray-tune-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(trainable, _resources(config, len(to_do), held is None)),
            param_space={"number": tune.grid_search(to_do)},
            tune_config=tune.TuneConfig(
                scheduler=scheduler,
                max_concurrent_trials=_at_once(config, len(to_do)),
                time_budget_s=config.minutes and config.minutes * 60,
                reuse_actors=True,  # TensorFlow takes seconds to start
            ),
            # What is to be kept goes where --out says; Tune itself only needs a place for its own notes.
            run_config=tune.RunConfig(
                name=f"synthray-{uuid.uuid4().hex[:12]}",
                storage_path=scratch,
                failure_config=tune.FailureConfig(max_failures=_RESTARTS),
                callbacks=[watch],
                verbose=2 if verbose else 0,
            ),
        )
        _follow(tuner, watch, config, trials, folder, tell)
    time.sleep(_SETTLE_S)


def _scheduler(epochs: int, known: Sequence[Trial]) -> ASHAScheduler:
    """ASHA, which remembers what earlier searches came to."""
    scheduler = ASHAScheduler(
        time_attr="epoch",
        metric="val_loss",
        mode="min",
        max_t=epochs,
        grace_period=max(1, math.ceil(epochs * _SHARE_BEFORE_FIRST_LOOK)),
        reduction_factor=_REDUCTION,
    )
    for trial in known:
        past = SimpleNamespace(trial_id=trial.name)
        scheduler.on_trial_add(None, past)
        for report in trial.history:
            scheduler.on_trial_result(None, past, report)
    return scheduler


def _at_once(config: SearchConfig, trials: int) -> int:
    cluster = ray.cluster_resources()
    slots = config.at_once or int(cluster.get("GPU", 0)) or int(cluster.get("CPU", 1))
    return max(1, min(slots, trials))


def _resources(config: SearchConfig, trials: int, stream_batches: bool) -> dict[str, float]:
    """What a trial takes of the cluster: a GPU where there are some, and its part of the processors."""
    cluster = ray.cluster_resources()
    nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    cpus = min(cluster.get("CPU", 1) / _at_once(config, trials), max(nodes, default=1))
    # Where the data set does not lie in memory, half of it is for the tasks that read it.
    cpus = cpus / 2 if stream_batches else cpus
    cpus = math.floor(cpus) if cpus >= 1 else cpus
    return {"CPU": cpus, "GPU": 1} if config.gpu or cluster.get("GPU", 0) else {"CPU": cpus}


@dataclass
class _Event:
    """Something that happened to a trial: an epoch, or its end."""

    number: int
    report: dict[str, Any] | None = None
    ended: str = ""
    reason: str = ""
    seconds: float = 0.0


@dataclass
class _Watch(tune.Callback):
    """Notes what happens, for the main thread to tell; Tune would swallow what goes wrong in telling."""

    events: deque[_Event] = field(default_factory=deque)
    interrupted: bool = False

    def on_step_begin(self, **_: Any) -> None:
        if self.interrupted:
            raise SystemExit  # ends the thread that Tune runs in, before it finds Ray gone and starts another one

    def on_trial_result(self, trial: RayTrial, result: dict[str, Any], **_: Any) -> None:
        if result.get("report"):
            self.events.append(_Event(trial.config["number"], dict(result["report"])))

    def on_trial_complete(self, trial: RayTrial, **_: Any) -> None:
        last = trial.last_result or {}
        ended, seconds = last.get("ended", STOPPED), last.get("time_total_s", 0.0)
        self.events.append(_Event(trial.config["number"], None, ended, last.get("reason", ""), seconds))

    def on_trial_error(self, trial: RayTrial, **_: Any) -> None:
        lines = (trial.get_error() or "its process was lost").strip().splitlines()
        self.events.append(_Event(trial.config["number"], None, UNFINISHED, lines[-1].strip()))


def _follow(
    tuner: tune.Tuner,
    watch: _Watch,
    config: SearchConfig,
    trials: list[Trial],
    folder: SearchFolder,
    tell: Callable[[str], None],
) -> None:
    """Run Tune beside the main thread, which writes and tells what came of each trial and can be interrupted."""
    fit = Background(tuner.fit)
    log = _Log(trials, folder, tell, time.monotonic() + config.minutes * 60 if config.minutes else math.inf)
    running = True
    try:
        while running:
            running = not fit.wait(_POLL_S)
            while watch.events:
                log.take(watch.events.popleft())
            log.still_there()
    except KeyboardInterrupt:
        watch.interrupted = True
        fit.wait(_END_S)
        raise KeyboardInterrupt(f"{log.ended} trials have ended; the same command goes on with the others") from None
    if fit.error:
        raise TrainingError(f"the search broke off: {summary(fit.error)}") from fit.error


class _Log:
    """What is known of the trials under way."""

    def __init__(
        self, trials: list[Trial], folder: SearchFolder, tell: Callable[[str], None], deadline_s: float
    ) -> None:
        self._trials, self._folder, self._tell, self._deadline_s = trials, folder, tell, deadline_s
        self._histories: dict[int, dict[int, dict[str, Any]]] = {}
        self._differ = [name for name in TUNABLE if len({str(trial.settings[name]) for trial in trials}) > 1]
        self._told_s = time.monotonic()
        self.ended = 0

    def take(self, event: _Event) -> None:
        """An epoch is noted (a trial that was started again tells of its first ones twice); an end is written."""
        if event.report:
            self._histories.setdefault(event.number, {})[event.report["epoch"]] = event.report
            return
        history = list(self._histories.pop(event.number, {}).values())
        ended, reason = event.ended, event.reason
        if ended == STOPPED and len(history) == self._trials[event.number].settings["epochs"]:
            ended = FINISHED
        elif ended == STOPPED and time.monotonic() > self._deadline_s:
            ended, reason = UNFINISHED, "the time was up"
            if not history:
                return
        trial = replace(self._trials[event.number], history=history, ended=ended, reason=reason, seconds=event.seconds)
        self._folder.add(trial)
        self.ended += 1
        count = len(self._trials)
        chosen = "  ".join(f"{name} {trial.settings[name]}" for name in self._differ)
        self._say(f"trial {event.number + 1:>{len(str(count))}}/{count}  {trial.line()}  {chosen}")

    def still_there(self) -> None:
        """A line where there was none for long."""
        if time.monotonic() - self._told_s > _SECONDS_BETWEEN_LINES:
            under_way = ", ".join(f"trial {number + 1} epoch {len(h)}" for number, h in sorted(self._histories.items()))
            self._say(f"under way: {under_way or 'waiting for room on the cluster, or for the first epoch'}")

    def _say(self, line: str) -> None:
        self._tell(line)
        self._told_s = time.monotonic()


def quiet(*, verbose: bool) -> None:
    """Keep Ray Tune from telling of itself and from writing logs of its own; before its first use."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    if not verbose:
        os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
        os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints some of it however quiet it is to be
    for name in ("ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.CRITICAL)
