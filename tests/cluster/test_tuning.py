"""A search on Ray: bad trials are rows, not the end; the best settings are those of the best row; nothing is lost."""

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
from synthray.data.open import open_dataset
from synthray.train.config import TrainConfig, load_settings
from synthray.tune.results import FAILED, SearchConfig
from synthray.tune.space import space
from tests import foreign
from tests.conftest import convert_here, train_here

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

EPOCHS = 60
BEGUN = "000002-00000000.npz"
DEFAULT_SPACE = {"network": "notebook", "width": "8", "batch_size": "48", "optimizer": "sgd"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("search")
    convert_here(foreign.write(folder / "training_data"), folder / "data")
    return open_dataset(str(folder / "data"))


def search(config: SearchConfig) -> tuple[list[dict[str, str]], list[str]]:
    """The rows of the table, and the lines that were told, but for those that only say that it is still there."""
    from synthray.cluster import tuner

    lines: list[str] = []
    tuner.quiet(verbose=False)
    tuner.search(config, lines.append)
    with Path(config.out, "trials.csv").open() as table:
        return list(csv.DictReader(table)), [line for line in lines if not line.startswith("under way: ")]


def test_the_best_of_a_search_is_what_a_training_takes(
    ray_cluster: RayHead, dataset: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    rates = space(DEFAULT_SPACE | {"learning_rate": "0.01,0.1,1e30,0.003"})
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
    # the same again has nothing to do, and one more trial joins them
    told_before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "trials").iterdir()}
    again, lines = search(config)
    assert again == rows
    assert lines == ["4 of 4 trials are known from an earlier search"]
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "trials").iterdir()} == told_before
    assert "Ray" not in capfd.readouterr().out


def trial_processes(head: RayHead) -> set[int]:
    """Process ids of the trials of the suite's own Ray."""
    from ray.util.state import list_actors

    actors = list_actors(head.dashboard_url, filters=[("state", "=", "ALIVE")], detail=True)
    return {actor.pid for actor in actors if actor.class_name.endswith("ImplicitFunc")}


def begin(config: TrainConfig) -> list[float]:
    """Train two epochs in this process, as a search that was broken off has; gives their validation losses."""
    return [report["val_loss"] for report in train_here(replace(config, epochs=2))]


def test_a_trial_goes_on_after_a_broken_off_search_and_after_its_process_was_killed(
    ray_cluster: RayHead, ray_head: RayHead, dataset: Dataset, tmp_path: Path
) -> None:
    config = SearchConfig(
        dataset.uri, str(tmp_path), space(DEFAULT_SPACE | {"learning_rate": "0.01"}), trials=4, epochs=EPOCHS
    )
    first = begin(config.configs(dataset.manifest)[0])
    killed: list[str] = []
    of_others = trial_processes(ray_head)
    over = threading.Event()

    def kill_after_another_checkpoint() -> None:
        mine: set[int] = set()
        while not over.wait(0.02):
            # looked for before it is time: an answer of Ray's may take as long as several epochs
            mine = mine or trial_processes(ray_head) - of_others
            there = sorted(path.name for path in tmp_path.rglob("*.npz"))
            if mine and there[-1:] > [BEGUN]:
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
    assert BEGUN < killed[-1] < f"{EPOCHS:06d}-00000000.npz"
    assert (row["epochs"], row["ended"]) == (str(EPOCHS), "finished")
    [note] = (tmp_path / "trials").iterdir()
    history = json.loads(note.read_text())["history"]
    assert [report["epoch"] for report in history] == list(range(1, EPOCHS + 1))
    assert [report["val_loss"] for report in history[:2]] == first
