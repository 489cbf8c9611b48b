"""The tracker of running trials: results and logged lines."""

from __future__ import annotations

import math
import time
from collections import deque
from pathlib import Path

import pytest

from synthray.data.open import open_dataset
from synthray.tune.config import SearchConfig
from synthray.tune.results import FINISHED, STOPPED, UNFINISHED, SearchFolder, Trial
from synthray.tune.space import parse_space
from synthray.tune.tracker import ResultTracker, TrialEvent
from tests import foreign
from tests.conftest import convert_here


class Search:
    """A search of two trials, with its tracker and the lines that it logs."""

    def __init__(self, folder: Path, deadline_s: float = math.inf) -> None:
        convert_here(foreign.write(folder / "source"), folder / "data")
        config = SearchConfig(f"{folder}/data", f"{folder}/out", parse_space({"clip_norm": "none,1"}), 2, epochs=2)
        manifest = open_dataset(config.data).manifest
        self.trials = [Trial.of(each, manifest) for each in config.configs(manifest)]
        self.folder = SearchFolder(config, manifest)
        self.lines: list[str] = []
        self.tracker = ResultTracker(self.trials, self.folder, self.lines.append, deadline_s)

    def take(self, *events: TrialEvent) -> Trial:
        """Handle events of the first trial and return its result."""
        self.tracker.take_all(deque(events))
        return self.folder.get(self.trials[0])


def epoch(number: int, val_loss: float = 4.0) -> TrialEvent:
    report = {"epoch": number, "val_loss": val_loss, "val_accuracy": 0.5, "val_error": 0.25, "examples_per_s": 100.0}
    return TrialEvent(0, report)


def test_tracker_counts_epochs_of_a_restarted_trial_once(tmp_path: Path) -> None:
    search = Search(tmp_path)
    result = search.take(epoch(1, 5.0), epoch(1, 4.0), epoch(2, 3.0), TrialEvent(0, ended=STOPPED, seconds=2.0))
    assert [report["val_loss"] for report in result.history] == [4.0, 3.0]
    assert (result.ended, result.seconds) == (FINISHED, 2.0)
    assert search.tracker.count == 1
    [line] = search.lines
    assert line.startswith("trial 1/2  val_loss 3.0000  finished after 2 of 2 epochs  ")
    assert "  width " in line
    assert "batch_size" not in line


def test_tracker_marks_a_trial_with_fewer_epochs_as_stopped_early(tmp_path: Path) -> None:
    assert Search(tmp_path).take(epoch(1), TrialEvent(0, ended=STOPPED)).ended == STOPPED


@pytest.mark.parametrize("epochs", [0, 1])
def test_tracker_after_the_time_limit_marks_a_trial_as_unfinished(tmp_path: Path, epochs: int) -> None:
    search = Search(tmp_path, deadline_s=time.monotonic() - 1)
    result = search.take(*[epoch(1)] * epochs, TrialEvent(0, ended=STOPPED))
    assert result.ended == UNFINISHED
    assert result.reason == ("the time limit was reached" if epochs else "")
    assert search.tracker.count == epochs


def test_tracker_logs_running_trials_after_30_s_of_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(tmp_path)
    search.take(epoch(1))
    search.tracker.log_if_silent()
    assert search.lines == []
    later_s = time.monotonic() + 31
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    search.tracker.log_if_silent()
    search.tracker.log_if_silent()
    assert search.lines == ["running: trial 1 epoch 1"]
