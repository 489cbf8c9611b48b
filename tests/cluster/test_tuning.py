"""A search on Ray Tune: failed trials, best settings, and resuming after a kill."""

from __future__ import annotations

import csv
import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from infra.ray_head import RayHead
from synthray.data.dataset import Dataset
from synthray.train.config import TrainConfig, load_settings
from synthray.tune.config import SearchConfig
from synthray.tune.results import FAILED, FINISHED, STOPPED
from synthray.tune.space import parse_space
from tests.conftest import convert_here, train_here
from tests.train.any_data import Data, scaled
from tests.waiting import wait_for

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

EPOCHS = 60
FIRST_CHECKPOINT = "000002-00000000.npz"
SPACE = {"network": "notebook", "width": "8", "batch_size": "48", "optimizer": "sgd"}


def search(config: SearchConfig) -> tuple[list[dict[str, str]], list[str]]:
    """Return the rows of the table, and the logged lines except those about running trials."""
    from synthray.cluster.tuning import tuner

    lines: list[str] = []
    tuner.silence_ray_tune(verbose=False)
    tuner.search(config, lines.append)
    with Path(config.out, "trials.csv").open() as table:
        return list(csv.DictReader(table)), [line for line in lines if not line.startswith("running: ")]


def test_search_writes_best_settings_and_a_row_for_a_failed_trial(
    ray_cluster: RayHead, dataset: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    rates = parse_space(SPACE | {"learning_rate": "0.01,0.1,1e30,0.003"})
    config = SearchConfig(dataset.uri, str(tmp_path), rates, trials=4, epochs=3)
    rows, lines = search(config)
    assert len(rows) == len(lines) == 4
    losses = [float(row["val_loss"]) for row in rows[:3]]
    assert losses == sorted(losses)
    assert (rows[3]["learning_rate"], rows[3]["ended"], rows[3]["val_loss"]) == ("1e+30", FAILED, "")
    assert "the loss is" in rows[3]["reason"]
    assert max(int(row["epochs"]) for row in rows) == 3
    best = TrainConfig(dataset.uri, str(tmp_path), **load_settings(str(tmp_path / "best.json")))
    assert str(best.learning_rate) == rows[0]["learning_rate"]
    assert not list(tmp_path.rglob("*.npz"))
    # a second search has nothing left to run
    times_before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "trials").iterdir()}
    again, lines = search(config)
    assert again == rows
    assert lines == ["4 of 4 trials were finished by an earlier search"]
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "trials").iterdir()} == times_before
    assert "Ray" not in capfd.readouterr().out


def test_search_without_flags_learns_from_features_of_any_scale(ray_cluster: RayHead, tmp_path: Path) -> None:
    data = Data(scaled(1e6), examples=512)
    convert_here(data.write(tmp_path / "training_data"), tmp_path / "data")
    rows, _ = search(SearchConfig(str(tmp_path / "data"), str(tmp_path / "out"), parse_space({}), trials=3, epochs=6))
    assert {row["ended"] for row in rows} <= {FINISHED, STOPPED}
    losses = [float(row["val_loss"]) for row in rows]
    assert max(losses) < 1.1 * data.chance
    assert losses[0] < 0.95 * data.chance


def trial_processes(head: RayHead) -> set[int]:
    """Return the process ids of the trials on the suite's Ray."""
    from ray.util.state import list_actors

    actors = list_actors(head.dashboard_url, filters=[("state", "=", "ALIVE")], detail=True)
    return {actor.pid for actor in actors if actor.class_name.endswith("ImplicitFunc")}


def begin(config: TrainConfig) -> list[float]:
    """Train two epochs in this process, as an interrupted search does, and return their validation losses."""
    return [report["val_loss"] for report in train_here(replace(config, epochs=2))]


def test_trial_resumes_after_an_interrupted_search_and_after_a_kill(
    ray_cluster: RayHead, ray_head: RayHead, dataset: Dataset, tmp_path: Path
) -> None:
    config = SearchConfig(
        dataset.uri, str(tmp_path), parse_space(SPACE | {"learning_rate": "0.01"}), trials=4, epochs=EPOCHS
    )
    first = begin(config.configs(dataset.manifest)[0])
    killed: list[str] = []
    other_processes = trial_processes(ray_head)
    over = threading.Event()

    def kill_after_another_checkpoint() -> None:
        mine: set[int] = set()
        while not over.wait(0.02):
            # asked for early: Ray may take as long to answer as several epochs last
            mine = mine or trial_processes(ray_head) - other_processes
            there = sorted(path.name for path in tmp_path.rglob("*.npz"))
            if mine and there[-1:] > [FIRST_CHECKPOINT]:
                os.kill(mine.pop(), signal.SIGKILL)
                killed.extend(there)
                return

    thread = threading.Thread(target=kill_after_another_checkpoint)
    thread.start()
    try:
        [row], _ = search(config)
    finally:
        over.set()
        thread.join()
    assert FIRST_CHECKPOINT < killed[-1] < f"{EPOCHS:06d}-00000000.npz"
    assert (row["epochs"], row["ended"]) == (str(EPOCHS), "finished")
    [note] = (tmp_path / "trials").iterdir()
    history = json.loads(note.read_text())["history"]
    assert [report["epoch"] for report in history] == list(range(1, EPOCHS + 1))
    assert [report["val_loss"] for report in history[:2]] == first


def test_search_interrupted_by_sigterm_stops_its_trials(
    ray_cluster: RayHead, ray_head: RayHead, dataset: Dataset, tmp_path: Path
) -> None:
    axes = parse_space(SPACE | {"learning_rate": "0.01"})
    config = SearchConfig(dataset.uri, str(tmp_path), axes, trials=1, epochs=100_000)
    other_processes = trial_processes(ray_head)

    def interrupt_after_a_checkpoint() -> None:
        wait_for(lambda: list(tmp_path.rglob("*.npz")), timeout_s=120)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt_after_a_checkpoint)
    thread.start()
    with pytest.raises(KeyboardInterrupt, match=r"interrupted after 0 trials\. To continue"):
        search(config)
    thread.join()
    wait_for(lambda: not trial_processes(ray_head) - other_processes, pause_s=0.5)
    assert not list((tmp_path / "trials").glob("*"))
    assert list(tmp_path.rglob("*.npz"))
