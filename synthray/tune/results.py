"""The results of a search and the folder they are written to. Trials are run by ``synthray.cluster.tuning.tuner``."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import shlex
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from synthray.data.manifest import Manifest
from synthray.errors import ConfigError, DataError
from synthray.model.architectures import ARCHITECTURES
from synthray.progress import duration
from synthray.storage import open_store
from synthray.text_tables import escape_cell, markdown_table, sparkline
from synthray.train.config import SETTINGS, TrainConfig
from synthray.tune.config import SearchConfig
from synthray.tune.space import TUNABLE

FINISHED, STOPPED, FAILED, UNFINISHED = "finished", "stopped early", "failed", "unfinished"
"""Outcomes of a trial. Only an unfinished one is run again: the others would end the same way."""
BEST, TABLE, CARD = "best.json", "trials.csv", "README.md"

_TRIAL = re.compile(r"trials/[0-9a-f]{8}\.json")
# Checkpoint settings do not change the result of a training.
_NOT_RESULTS = {"checkpoint_steps", "keep_checkpoints"}


@dataclass(frozen=True)
class Trial:
    """The result of one trial."""

    name: str
    """Digest of everything that its losses depend on."""
    settings: dict[str, Any]
    """Settings of ``TrainConfig``, without data and out."""
    data: str
    """Digest of the data set."""
    held_out: int
    """Number of examples that the losses are computed on."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One epoch report per finished epoch."""
    ended: str = UNFINISHED
    """Outcome of the trial."""
    reason: str = ""
    """Reason of a failure."""
    seconds: float = 0.0
    """Computing time."""

    @classmethod
    def of(cls, config: TrainConfig, manifest: Manifest) -> Trial:
        """Return a trial that has not begun."""
        digest = hashlib.sha256(f"{config.run_digest(manifest)}:{config.epochs}".encode()).hexdigest()
        settings = {name: value for name, value in config.to_json().items() if name in SETTINGS - _NOT_RESULTS}
        return cls(digest[:8], settings, manifest.digest, config.holdout(manifest)[1])

    @property
    def best(self) -> dict[str, Any] | None:
        """Return the report of the epoch with the lowest validation loss."""
        return min(self.history, key=lambda report: report["val_loss"], default=None)

    @property
    def lowest_loss(self) -> float:
        """Return the lowest validation loss, or infinity without an epoch."""
        return self.best["val_loss"] if self.best else math.inf

    @property
    def comparable(self) -> tuple[str, int, int]:
        """Return data, held-out examples and bins. Only losses of trials with equal values can be compared."""
        return self.data, self.held_out, ARCHITECTURES[self.settings["network"]].bins

    @property
    def is_done(self) -> bool:
        """Return whether the trial need not be run again."""
        return self.ended != UNFINISHED

    def require_complete(self) -> None:
        """Raise an error if the table or the card of a search could not show this trial.

        Raises:
            ValueError, TypeError, AttributeError: a value is missing, or is of another type.
        """
        if not isinstance(self.name, str):
            raise ValueError(f"its name is {self.name!r}")
        try:
            network = self.settings["network"]
            if network not in ARCHITECTURES:
                raise ValueError(f"this version has no network {network!r}")
            _card_row(self, tuple(TUNABLE))
            self.line()
        except KeyError as error:
            raise ValueError(f"{error} is missing") from None

    def row(self) -> dict[str, Any]:
        """Return the trial's row of the table."""
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
        """Return a one-line summary."""
        if self.best is None:
            return f"{self.ended} without an epoch: {self.reason}"
        epochs = f"{len(self.history)} of {self.settings['epochs']} epochs"
        text = f"val_loss {self.best['val_loss']:.4f}  {self.ended} after {epochs}"
        return f"{text}: {self.reason}" if self.reason else text


class SearchFolder:
    """The output folder of searches.

    It holds one JSON file per trial, ``trials.csv``, ``best.json`` and ``README.md``. Several searches on the same data
    can use one folder. Their trials are then in one table.
    """

    def __init__(self, config: SearchConfig, manifest: Manifest) -> None:
        self._store, self._data = open_store(config.out), config.data
        self._trials: dict[str, Trial] = {}
        holdout = TrainConfig(config.data, config.out, validation_examples=config.validation_examples)
        self._comparable = (manifest.digest, holdout.holdout(manifest)[1], config.bins)

    @property
    def uri(self) -> str:
        """Return the URI of the folder."""
        return self._store.uri

    def load(self) -> None:
        """Read the trials of all searches in the folder.

        Raises:
            ConfigError: their data, validation examples or kinds of loss differ, so losses cannot be compared.
            DataError: the file of a trial is corrupt.
        """
        for entry in self._store.list("trials"):
            if not _TRIAL.fullmatch(entry.path):
                continue
            try:
                trial = Trial(**json.loads(self._store.read(entry.path)))
                trial.require_complete()
            except (ValueError, TypeError, AttributeError) as error:
                raise DataError(f"{self.uri}/{entry.path}: corrupt ({error}). Delete the file.") from None
            if trial.comparable != self._comparable:
                raise ConfigError(
                    f"{self.uri}: holds a search whose losses cannot be compared. Its data, its validation examples, "
                    "or the outputs of its networks differ from this search. Give another --out."
                )
            self._trials[trial.name] = trial

    def get(self, trial: Trial) -> Trial:
        """Return the stored result of this trial, or the trial itself if there is none."""
        return self._trials.get(trial.name, trial)

    def add(self, trial: Trial) -> None:
        """Store the result of a trial and rewrite table, best settings and card."""
        self._store.write(f"trials/{trial.name}.json", (json.dumps(asdict(trial), indent=1) + "\n").encode())
        self.load()  # with the trials of other searches that use the folder at the same time
        self.write()

    def delete_checkpoints(self, trials: Iterable[tuple[Trial, str]]) -> None:
        """Delete the checkpoints of finished trials, given with their run digests."""
        digests = {digest for trial, digest in trials if trial.is_done}
        for entry in self._store.list("checkpoints"):
            if entry.path.split("/")[1] in digests:
                self._store.delete(entry.path)

    @property
    def ranked(self) -> list[Trial]:
        """Return all trials, the lowest validation loss first."""
        return sorted(self._trials.values(), key=lambda trial: (trial.lowest_loss, trial.name))

    @property
    def best(self) -> Trial | None:
        """Return the trial with the lowest validation loss, if there is any loss."""
        return next((trial for trial in self.ranked if trial.best), None)

    def command(self) -> str:
        """Return the command that trains with the best settings."""
        return shlex.join(["synthray", "train", "--data", self._data, "--config", f"{self.uri}/{BEST}"])

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
        varied = varied_settings(trials)
        same = ", ".join(f"{name} {_cell(trials[0].settings[name])}" for name in TUNABLE if name not in varied)
        seconds = sum(trial.seconds for trial in trials)
        parts = [f"# {len(trials)} trials on {self._data}"]
        if self.best:
            parts.append("Lowest validation loss first. To train with the settings of the first row:")
            parts.append(f"    {self.command()}")
        parts.append(
            f"Losses are computed on {trials[0].held_out} held-out examples. Total computing time: {duration(seconds)}."
        )
        if same:
            parts.append(f"Equal in all trials: {same}.")
        header = [*varied, "val_loss", "by epoch", "val_accuracy", "val_error", "epochs", "examples/s", "ended"]
        parts.append(markdown_table(header, [_card_row(trial, varied) for trial in trials]))
        return "\n\n".join(parts) + "\n"


def varied_settings(trials: Sequence[Trial]) -> list[str]:
    """Return the names of the settings that differ between trials."""
    return [name for name in TUNABLE if len({str(trial.settings[name]) for trial in trials}) > 1]


def _card_row(trial: Trial, varied: Sequence[str]) -> list[str]:
    row = trial.row()
    losses = [report["val_loss"] for report in trial.history]
    lowest = min(losses, default=0.0)
    return [
        *(_cell(trial.settings[name]) for name in varied),
        _cell(row["val_loss"], ".4f"),
        sparkline([loss - lowest for loss in losses]),
        _cell(row["val_accuracy"], ".4f"),
        _cell(row["val_error"], ".4f"),
        str(row["epochs"]),
        _cell(row["examples_per_s"], ",.0f"),
        escape_cell(f"{trial.ended}: {trial.reason}" if trial.reason else trial.ended),
    ]


def _cell(value: Any, form: str = "") -> str:
    if value is None:
        return "" if form else "none"
    return format(value, form or ("g" if isinstance(value, float) else ""))
