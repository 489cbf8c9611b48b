"""A search for settings: what it is to try, what came of it, and the table and the file that it leaves."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import shlex
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from synthray.data.manifest import Manifest
from synthray.data.open import absolute
from synthray.errors import ConfigError, DataError
from synthray.progress import duration
from synthray.storage import open_store
from synthray.train.config import SETTINGS, TrainConfig
from synthray.tune.space import TUNABLE, Axis, draw

FINISHED, STOPPED, FAILED, UNFINISHED = "finished", "stopped early", "failed", "unfinished"
"""How a trial ended: with its last epoch; worse than others; in a way that is the same each time; in some other way."""
BEST, TABLE, CARD = "best.json", "trials.csv", "README.md"

# How often a trial is saved is no matter of what is found.
_KEPT_BACK = {"checkpoint_steps", "keep_checkpoints"}
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class SearchConfig:
    """One search.

    data, out: URIs. axes: what is tried. trials: how many settings. epochs: the most that one of them is trained.
    seed: of the settings, and of weights and order in each trial. validation_examples: as in ``TrainConfig``.
    at_once: trials at a time; one a GPU, or a processor where there are none, when 0. gpu: a GPU each, also where none
    is up yet. minutes: when the search ends at the latest.
    """

    data: str
    out: str
    axes: tuple[Axis, ...]
    trials: int = 16
    epochs: int = 10
    seed: int = 0
    validation_examples: int | None = None
    at_once: int = 0
    gpu: bool = False
    minutes: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", absolute(self.data))
        object.__setattr__(self, "out", open_store(self.out).uri)
        if self.trials < 1:
            raise ConfigError(f"trials is {self.trials}; it must be at least 1")
        if self.at_once < 0:
            raise ConfigError(f"trials-at-once is {self.at_once}; it must be at least 1, or 0 for one a GPU")
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigError(f"minutes is {self.minutes}; it must be above 0")

    def configs(self, manifest: Manifest) -> list[TrainConfig]:
        """One training a trial; raises ConfigError where one cannot be."""
        configs = [
            TrainConfig(
                self.data, self.out, epochs=self.epochs, seed=self.seed, validation_examples=self.validation_examples,
                keep_checkpoints=1, **settings,
            )
            for settings in draw(self.axes, self.trials, self.seed)
        ]  # fmt: skip
        for config in configs:
            config.order(manifest)
        return configs


@dataclass(frozen=True)
class Trial:
    """What came of a trial.

    name: a digest of everything that its numbers depend on. settings: of ``TrainConfig``, without data and out. data,
    held_out: digest of the data set and how many of its examples the losses are of. history: the reports of its epochs.
    """

    name: str
    settings: dict[str, Any]
    data: str
    held_out: int
    history: list[dict[str, Any]] = field(default_factory=list)
    ended: str = UNFINISHED
    reason: str = ""
    seconds: float = 0.0

    @classmethod
    def of(cls, config: TrainConfig, manifest: Manifest) -> Trial:
        """One that has not begun."""
        digest = hashlib.sha256(f"{config.run_digest(manifest)}:{config.epochs}".encode()).hexdigest()
        settings = {name: value for name, value in config.to_json().items() if name in SETTINGS - _KEPT_BACK}
        return cls(digest[:8], settings, manifest.digest, config.holdout(manifest.rows)[1])

    @property
    def best(self) -> dict[str, Any] | None:
        """The report of the epoch with the lowest validation loss."""
        return min(self.history, key=lambda report: report["val_loss"], default=None)

    @property
    def lowest(self) -> float:
        """The lowest validation loss; infinity without an epoch."""
        return self.best["val_loss"] if self.best else math.inf

    @property
    def done(self) -> bool:
        """Whether another try would end the same way."""
        return self.ended != UNFINISHED

    def row(self) -> dict[str, Any]:
        """Its row of the table."""
        best = self.best or {}
        return {
            "trial": self.name,
            **{name: self.settings[name] for name in TUNABLE},
            "epochs": len(self.history),
            "best_epoch": best.get("epoch"),
            **{name: best.get(name) for name in ("val_loss", "val_accuracy", "val_error")},
            "examples_per_s": statistics.median(each["examples_per_s"] for each in self.history) if best else None,
            "seconds": round(self.seconds, 1),
            "ended": self.ended,
            "reason": self.reason,
        }

    def line(self) -> str:
        """For people: what came of it."""
        if self.best is None:
            return f"{self.ended} without an epoch: {self.reason}"
        epochs = f"{len(self.history)} of {self.settings['epochs']} epochs"
        text = f"val_loss {self.best['val_loss']:.4f}  {self.ended} after {epochs}"
        return f"{text}: {self.reason}" if self.reason else text


class SearchFolder:
    """What searches leave at a URI: a note on each trial, and of all of them table, best settings and a card.

    It may be used for several searches on the same data: their trials stand in one table.
    """

    def __init__(self, config: SearchConfig, manifest: Manifest) -> None:
        self._store, self._data = open_store(config.out), config.data
        self._trials: dict[str, Trial] = {}
        held_out = TrainConfig(config.data, config.out, validation_examples=config.validation_examples)
        self._compared = (manifest.digest, held_out.holdout(manifest.rows)[1])

    @property
    def uri(self) -> str:
        """Where it is."""
        return self._store.uri

    def load(self) -> None:
        """Take in the trials of earlier searches.

        Raises:
            ConfigError: they were of other data, or validated with other examples of it: losses could not be compared.
            DataError: a note is damaged.
        """
        for entry in self._store.list("trials"):
            if not entry.path.endswith(".json"):
                continue
            try:
                trial = Trial(**json.loads(self._store.read(entry.path)))
            except (ValueError, TypeError) as error:
                raise DataError(f"{self.uri}/{entry.path} is damaged ({error}): remove it") from None
            if (trial.data, trial.held_out) != self._compared:
                raise ConfigError(f"{self.uri} holds a search on other data or validation examples: give another --out")
            self._trials[trial.name] = trial

    def get(self, trial: Trial) -> Trial:
        """The trial as it ended earlier, where it did."""
        return self._trials.get(trial.name, trial)

    def add(self, trial: Trial) -> None:
        """Keep a trial that has ended, and write all anew."""
        self._trials[trial.name] = trial
        self._store.write(f"trials/{trial.name}.json", (json.dumps(asdict(trial), indent=1) + "\n").encode())
        self.write()

    def clear(self, trials: Iterable[tuple[Trial, str]]) -> None:
        """Remove the checkpoints of trials that need them no more; with the digest of the training of each."""
        digests = {digest for trial, digest in trials if trial.done}
        for entry in self._store.list("checkpoints"):
            if entry.path.split("/")[1] in digests:
                self._store.delete(entry.path)

    @property
    def ranked(self) -> list[Trial]:
        """All trials, the lowest validation loss first, those without one last."""
        return sorted(
            self._trials.values(), key=lambda t: (t.best is None, t.best["val_loss"] if t.best else 0, t.name)
        )

    @property
    def best(self) -> Trial | None:
        """The trial with the lowest validation loss; None where no epoch was trained."""
        return next((trial for trial in self.ranked if trial.best), None)

    def command(self) -> str:
        """How to train with the best settings."""
        return shlex.join(["python", "jobs/train.py", "--data", self._data, "--config", f"{self.uri}/{BEST}"])

    def write(self) -> None:
        """Write table, best settings and card."""
        if not self._trials:
            return
        rows = [trial.row() for trial in self.ranked]
        text = io.StringIO()
        table = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        self._store.write(TABLE, text.getvalue().encode())
        if self.best:
            self._store.write(BEST, (json.dumps(self.best.settings, indent=1) + "\n").encode())
        self._store.write(CARD, self._card().encode())

    def _card(self) -> str:
        trials = self.ranked
        differ = [name for name in TUNABLE if len({str(trial.settings[name]) for trial in trials}) > 1]
        same = ", ".join(f"{name} {_cell(trials[0].settings[name])}" for name in TUNABLE if name not in differ)
        lines = [f"# {len(trials)} trials on {self._data}", ""]
        if self.best:
            lines += ["Lowest validation loss first. To train with the first one's settings:", ""]
            lines += [f"    {self.command()}", ""]
        seconds = sum(trial.seconds for trial in trials)
        lines += [f"Losses are of {trials[0].held_out} examples. Computed for {duration(seconds)} in all.", ""]
        lines += [f"The same in all: {same}.", ""] if same else []
        heads = [*differ, "val_loss", "by epoch", "val_accuracy", "val_error", "epochs", "examples/s", "ended"]
        lines += [_table_line(heads), _table_line(["---"] * len(heads))]
        for trial in trials:
            row = trial.row()
            numbers = [_cell(row[name], ".4f") for name in ("val_accuracy", "val_error")]
            ended = f"{trial.ended}: {trial.reason}" if trial.reason else trial.ended
            cells = [*(_cell(trial.settings[name]) for name in differ), _cell(row["val_loss"], ".4f"), _curve(trial)]
            cells += [*numbers, str(row["epochs"]), _cell(row["examples_per_s"], ",.0f"), ended]
            lines.append(_table_line(cells))
        return "\n".join(lines) + "\n"


def _table_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _cell(value: Any, form: str = "") -> str:
    if value is None:
        return "none" if not form else ""
    return format(value, form or ("g" if isinstance(value, float) else ""))


def _curve(trial: Trial) -> str:
    """The validation losses as bars, from the trial's own lowest to its highest."""
    losses = [report["val_loss"] for report in trial.history]
    low, high = min(losses, default=0.0), max(losses, default=0.0)
    return "".join(_BARS[round((loss - low) / ((high - low) or 1.0) * (len(_BARS) - 1))] for loss in losses)
