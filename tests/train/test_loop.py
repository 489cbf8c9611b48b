"""Training in one process: it learns, it is exact, and it goes on where it stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.errors import ConfigError, Stopped, StorageError, TrainingError
from synthray.model.heads import HeadLayout
from synthray.model.losses import score
from synthray.model.saved import load_model
from synthray.train import loop
from synthray.train.checkpoint import Checkpoint, CheckpointFolder, Progress
from synthray.train.config import NETWORKS as NAMES
from synthray.train.config import TrainConfig, already_trained
from synthray.train.export import publish
from synthray.train.logging.tensorboard import EpochLog
from synthray.train.loop import WorkerContext
from synthray.train.reports import EpochReport
from synthray.train.step import TrainState
from tests import foreign
from tests.conftest import convert_here


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("train")
    convert_here(foreign.write(folder / "training_data"), folder / "data")
    return open_dataset(str(folder / "data"))


def config(dataset: Dataset, out: Path, **changes: object) -> TrainConfig:
    return TrainConfig(dataset.store.uri, str(out), **{"epochs": 3, "batch_size": 48, **changes})


def run(
    config: TrainConfig,
    dataset: Dataset,
    stop_after: int | None = None,
    stop_at: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[list[np.ndarray], list[dict]]:
    """Train in this process, batches straight from the order; as if killed after so many epochs, or before a step."""
    order = config.order(dataset.manifest)

    def batches(start: tuple[int, int]) -> Iterator[loop.Share]:
        for number, rows in enumerate(order.worker_batches(start, config.epochs, 0, 1)):
            if number == stop_at:
                raise KeyboardInterrupt
            yield dataset.take(rows), rows

    def report(result: EpochReport) -> None:
        if result.epoch == stop_after:
            raise KeyboardInterrupt

    trained = loop.run(config, dataset, tf.distribute.get_strategy(), WorkerContext(stop=stop), batches, report)
    return trained.steps.model.get_weights(), trained.history


def test_it_learns_what_can_be_learned(dataset: Dataset, tmp_path: Path) -> None:
    _, history = run(config(dataset, tmp_path, epochs=8), dataset)
    assert [row["epoch"] for row in history] == list(range(1, 9))
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert all(np.isfinite(list(row.values())).all() for row in history)


def test_the_same_seed_gives_the_same_weights_and_another_one_others(dataset: Dataset, tmp_path: Path) -> None:
    runs = [run(config(dataset, tmp_path / str(i), seed=seed), dataset)[0] for i, seed in enumerate((1, 1, 2))]
    assert all((a == b).all() for a, b in zip(runs[0], runs[1], strict=True))
    assert any((a != b).any() for a, b in zip(runs[0], runs[2], strict=True))


def test_stopped_and_resumed_is_the_same_as_never_stopped(dataset: Dataset, tmp_path: Path) -> None:
    weights, history = run(config(dataset, tmp_path / "undisturbed"), dataset)
    with pytest.raises(KeyboardInterrupt):
        run(config(dataset, tmp_path / "stopped"), dataset, stop_after=2)
    resumed, resumed_history = run(config(dataset, tmp_path / "stopped"), dataset)
    assert all((a == b).all() for a, b in zip(weights, resumed, strict=True))
    assert [row["loss"] for row in resumed_history] == [row["loss"] for row in history]


@pytest.mark.parametrize("last_step", [1, 3, 5])
def test_stopped_within_an_epoch_and_resumed_is_the_same(dataset: Dataset, tmp_path: Path, last_step: int) -> None:
    settings = {"batch_size": 32, "checkpoint_steps": 1, "epochs": 2}
    weights, history = run(config(dataset, tmp_path / "undisturbed", **settings), dataset)
    with pytest.raises(KeyboardInterrupt):
        run(config(dataset, tmp_path / "stopped", **settings), dataset, stop_at=last_step)
    newest = sorted(path.name for path in (tmp_path / "stopped").rglob("*.ckpt"))[-1]
    assert newest == f"000000-{last_step:08d}.ckpt"
    resumed, resumed_history = run(config(dataset, tmp_path / "stopped", **settings), dataset)
    assert all((a == b).all() for a, b in zip(weights, resumed, strict=True))
    assert [row["loss"] for row in resumed_history] == [row["loss"] for row in history]


def test_asked_to_stop_it_writes_a_checkpoint_and_goes_on_from_it(dataset: Dataset, tmp_path: Path) -> None:
    settings = {"batch_size": 32, "epochs": 2}
    weights, history = run(config(dataset, tmp_path / "undisturbed", **settings), dataset)
    asked = iter([False] * 8)
    with pytest.raises(Stopped, match=r"stopped in epoch 2 after step 4 of 6"):
        run(config(dataset, tmp_path / "out", **settings), dataset, stop=lambda: next(asked, True))
    assert sorted(path.name for path in tmp_path.rglob("out/**/*.ckpt"))[-1] == "000001-00000004.ckpt"
    resumed, resumed_history = run(config(dataset, tmp_path / "out", **settings), dataset)
    assert all((a == b).all() for a, b in zip(weights, resumed, strict=True))
    assert [row["loss"] for row in resumed_history] == [row["loss"] for row in history]


@pytest.mark.parametrize("batch_size", [200, 100])
def test_an_epoch_of_one_or_two_steps_can_be_stopped_after(batch_size: int, dataset: Dataset, tmp_path: Path) -> None:
    settings = config(dataset, tmp_path, batch_size=batch_size)
    assert settings.order(dataset.manifest).steps == 200 // batch_size
    with pytest.raises(Stopped, match="stopped after epoch 1 of 3"):
        run(settings, dataset, stop=lambda: True)
    assert [path.name for path in tmp_path.rglob("*.ckpt")] == ["000001-00000000.ckpt"]


def test_what_is_said_to_be_written_is_written(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match=r"checkpoints.* cannot be written"):
        run(config(dataset, tmp_path, batch_size=32), dataset, stop=lambda: True)


@pytest.mark.parametrize("damaged", [False, True])
def test_the_best_epochs_weights_are_saved_with_its_numbers(
    damaged: bool, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # it learns the examples by heart, and the held-out ones worse and worse
    settings = config(dataset, tmp_path, batch_size=8, epochs=8, learning_rate=0.1)
    order = settings.order(dataset.manifest)

    def batches(start: tuple[int, int]) -> Iterator[loop.Share]:
        return ((dataset.take(rows), rows) for rows in order.worker_batches(start, settings.epochs, 0, 1))

    def report(epoch: EpochReport) -> None:
        if damaged and epoch.epoch == 8:
            for path in tmp_path.rglob("*.ckpt"):
                with contextlib.suppress(FileNotFoundError):  # the writer removes old ones meanwhile
                    path.write_bytes(path.read_bytes()[:-1])

    trained = loop.run(settings, dataset, tf.distribute.get_strategy(), WorkerContext(), batches, report)
    best = min(trained.history, key=lambda row: row["val_loss"])
    assert best["epoch"] < 8
    assert trained.report == (trained.history[-1] if damaged else best)
    assert ("the last epoch's weights are saved instead" in caplog.text) == damaged
    first, count = settings.holdout(dataset.manifest.rows)
    held_out = dataset.take(np.arange(first, first + count))
    with trained.steps.averaged():
        outputs = trained.steps.model(held_out.features)
    layout = HeadLayout(dataset.manifest.table)
    loss = float(np.mean(score(outputs, tf.constant(held_out.labels, tf.float32), layout).loss))
    assert loss == pytest.approx(trained.report["val_loss"], rel=1e-5)


RECIPES = {
    "adamw": {"optimizer": "adamw", "weight_decay": 0.01, "schedule": "cosine", "warmup_steps": 3},
    "averages": {"ema": 0.9, "clip_norm": 1.0, "warmup_steps": 2},
    "bfloat16": {"precision": "mixed_bfloat16", "optimizer": "adamw"},
    "jit": {"jit": True},
    "log": {"network": "log", "width": 32},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_learns_and_resumes_exactly(recipe: str, dataset: Dataset, tmp_path: Path) -> None:
    settings = {"batch_size": 32, "epochs": 3, "checkpoint_steps": 1, **RECIPES[recipe]}
    weights, history = run(config(dataset, tmp_path / "undisturbed", **settings), dataset)
    assert history[-1]["loss"] < history[0]["loss"]
    with pytest.raises(KeyboardInterrupt):
        run(config(dataset, tmp_path / "stopped", **settings), dataset, stop_at=10)
    resumed, resumed_history = run(config(dataset, tmp_path / "stopped", **settings), dataset)
    assert all((a == b).all() for a, b in zip(weights, resumed, strict=True))
    assert [row["val_loss"] for row in resumed_history] == [row["val_loss"] for row in history]


def test_the_epochs_loss_does_not_depend_on_the_checkpoints(dataset: Dataset, tmp_path: Path) -> None:
    rarely, often = (
        run(config(dataset, tmp_path / str(steps), checkpoint_steps=steps, epochs=1), dataset)[1] for steps in (1000, 1)
    )
    assert often[0]["loss"] == pytest.approx(rarely[0]["loss"], rel=1e-5)


def test_padding_teaches_nothing(dataset: Dataset) -> None:
    batch = dataset.take(np.arange(4))
    features = np.random.default_rng(0).random(batch.features[2:].shape).astype(np.float32)
    learned = []
    for padding in (np.zeros_like(features), features):
        steps = TrainState(TrainConfig("data", "out", batch_size=4), dataset.manifest, tf.distribute.get_strategy())
        padded = np.concatenate([batch.features[:2], padding])
        sums = steps.train(padded, batch.labels, np.array([1, 1, 0, 0], np.float32), np.float32(2), np.float32(0))
        assert sums.numpy()[1] == 2
        learned.append(steps.model.get_weights())
    assert all((a == b).all() for a, b in zip(*learned, strict=True))


def test_fewer_epochs_than_there_are_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    run(config(dataset, tmp_path, epochs=2), dataset)
    with pytest.raises(ConfigError, match="holds 2 epochs of this training already, more than the 1 asked for"):
        run(config(dataset, tmp_path, epochs=1), dataset)


def test_epochs_may_be_raised_later(dataset: Dataset, tmp_path: Path) -> None:
    run(config(dataset, tmp_path / "more", epochs=2), dataset)
    weights, history = run(config(dataset, tmp_path / "more", epochs=3), dataset)
    at_once, _ = run(config(dataset, tmp_path / "at once", epochs=3), dataset)
    assert len(history) == 3
    assert all((a == b).all() for a, b in zip(weights, at_once, strict=True))


def test_a_damaged_checkpoint_is_passed_over(
    dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights, _ = run(config(dataset, tmp_path / "undisturbed"), dataset)
    run(config(dataset, tmp_path / "out", epochs=2), dataset)
    newest = sorted((tmp_path / "out" / "checkpoints").rglob("*.ckpt"))[-1]
    newest.write_bytes(newest.read_bytes()[:-10])
    resumed, _ = run(config(dataset, tmp_path / "out"), dataset)
    assert "000002-00000000.ckpt cannot be used" in caplog.text
    assert all((a == b).all() for a, b in zip(weights, resumed, strict=True))


def test_other_settings_do_not_take_up_its_checkpoints(dataset: Dataset, tmp_path: Path) -> None:
    run(config(dataset, tmp_path), dataset)
    _, history = run(config(dataset, tmp_path, learning_rate=0.001), dataset)
    _, alone = run(config(dataset, tmp_path / "alone", learning_rate=0.001), dataset)
    assert history[0]["loss"] == alone[0]["loss"]


def test_the_newest_checkpoints_and_the_best_stay(tmp_path: Path) -> None:
    history: list[dict] = []
    with CheckpointFolder(str(tmp_path), "d" * 64, keep=2) as folder:
        for epoch, val_loss in enumerate((5.0, 2.0, 4.0, 3.0, 2.5), 1):
            history.append({"epoch": epoch, "val_loss": val_loss})
            folder.save(Checkpoint(Progress(epoch, history=list(history)), [np.full(2, epoch)], []))
    assert folder.paths() == ["000002-00000000.ckpt", "000004-00000000.ckpt", "000005-00000000.ckpt"]
    path = folder.latest_valid()
    assert path is not None
    read = folder.load(path)
    assert (read.progress.epoch, read.progress.history) == (5, history)
    assert read.weights[0].tolist() == [5, 5]
    best = folder.load_best(read.progress)
    assert best is not None
    assert best.weights[0].tolist() == [2, 2]


def test_what_a_checkpoint_could_not_be_written_for_is_raised(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    with (
        pytest.raises(StorageError, match=r"checkpoints.* cannot be written"),
        CheckpointFolder(str(tmp_path), "d" * 64, keep=2) as folder,
    ):
        folder.save(Checkpoint(Progress(1), [np.zeros(2)], []))


def test_a_damaged_newest_checkpoint_does_not_crowd_out_the_ones_after(tmp_path: Path) -> None:
    with CheckpointFolder(str(tmp_path), "d" * 64, keep=1) as folder:
        folder.save(Checkpoint(Progress(5), [np.zeros(2)], []))
        folder.wait()
        [path] = tmp_path.rglob("*.ckpt")
        path.write_bytes(b"damaged")
        folder.save(Checkpoint(Progress(3), [np.zeros(2)], []))
        folder.wait()
        assert folder.latest_valid() == "000003-00000000.ckpt"


def test_a_checkpoint_is_of_the_moment_it_was_asked_for(dataset: Dataset, tmp_path: Path) -> None:
    """It is written while training goes on, which must not reach into it."""
    batch = dataset.take(np.arange(4))
    steps = TrainState(
        TrainConfig("data", "out", batch_size=4, ema=0.9), dataset.manifest, tf.distribute.get_strategy()
    )
    one = np.ones(4, np.float32)
    steps.train(batch.features, batch.labels, one, np.float32(4), np.float32(0))
    checkpoint = steps.checkpoint(Progress())
    before = checkpoint.encode()
    steps.train(batch.features, batch.labels, one, np.float32(4), np.float32(0))
    assert checkpoint.encode() == before
    assert steps.checkpoint(Progress()).encode() != before


def test_a_loss_that_is_no_number_ends_it_and_keeps_the_last_checkpoint(dataset: Dataset, tmp_path: Path) -> None:
    settings = config(dataset, tmp_path, epochs=3)
    order = settings.order(dataset.manifest)

    def batches(start: tuple[int, int]) -> Iterator[loop.Share]:
        for number, rows in enumerate(order.worker_batches(start, settings.epochs, 0, 1)):
            batch = dataset.take(rows)
            if start == (0, 0) and number == 2 * order.steps + 1:
                batch.labels[:, 1] = np.nan  # of a range
            yield batch, rows

    def train() -> list[dict]:
        return loop.run(
            settings, dataset, tf.distribute.get_strategy(), WorkerContext(), batches, lambda _: None
        ).history

    with pytest.raises(TrainingError, match=r"epoch 3, step 2 of 4: the loss is nan.*--learning-rate"):
        train()
    assert sorted(path.name for path in tmp_path.rglob("*.ckpt"))[-1] == "000002-00000000.ckpt"
    assert [row["epoch"] for row in train()] == [1, 2, 3]


@pytest.mark.parametrize("rate", [1e30, 1e38])
def test_weights_that_are_ruined_are_not_kept(rate: float, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"epoch 1, step 1 of 4: the loss after it is (nan|inf).*--learning-rate"):
        run(config(dataset, tmp_path, learning_rate=rate, checkpoint_steps=1), dataset)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_seed_of_many_bits_trains(dataset: Dataset, tmp_path: Path) -> None:
    run(config(dataset, tmp_path, epochs=1, seed=2**63 - 1), dataset)


def test_the_model_and_its_card(dataset: Dataset, tmp_path: Path) -> None:
    settings = config(dataset, tmp_path, epochs=1)
    order = settings.order(dataset.manifest)

    def batches(_: tuple[int, int]) -> Iterator[loop.Share]:
        return ((dataset.take(rows), rows) for rows in order.window(0, 0))

    trained = loop.run(settings, dataset, tf.distribute.get_strategy(), WorkerContext(), batches, lambda _: None)
    uri = publish(settings, dataset, trained)
    assert uri == str(tmp_path / "model_7_1.keras")
    model, card = load_model(uri)
    rows = dataset.manifest.rows
    assert card.dataset["digest"] == dataset.manifest.digest
    assert card.dataset["holdout"] == {"first": rows - rows // 9, "count": rows // 9}
    assert card.metrics == trained.history[-1]
    assert card.config["batch_size"] == 48
    features = dataset.take(np.arange(5)).features
    named = np.concatenate([np.asarray(out) for out in model(features)], axis=1)
    fused = np.asarray(trained.steps.model(features))
    np.testing.assert_allclose(named[:, 5:7], fused[:, 5:7], rtol=1e-5)


def test_tensorboard_can_read_the_log(dataset: Dataset, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with EpochLog(config(dataset, tmp_path), dataset.manifest) as write:
        for epoch in (1, 2):
            write(EpochReport(epoch, 2, 3.0 / epoch, 2.0, 0.5, 0.25, 1000.0, 0.1))
    [folder] = (tmp_path / "logs").iterdir()
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    assert set(events.Tags()["tensors"]) == {
        "loss", "val_loss", "val_accuracy", "val_error", "examples_per_s", "input_wait", "step_s", "restarts",
    }  # fmt: skip
    values = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("loss")]
    assert values == [3.0, 1.5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
        ({"weight_decay": float("nan")}, "weight_decay is nan"),
        ({"validation_examples": 0}, "validation_examples is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig("data", "out", **changes)


def test_every_named_network_can_be_built() -> None:
    from synthray.model.networks import NETWORKS

    assert tuple(NETWORKS) == NAMES
    with pytest.raises(ConfigError, match="network is 'huge'; it can be notebook, log"):
        TrainConfig("data", "out", network="huge")


def test_something_must_be_left_to_train_on() -> None:
    settings = TrainConfig("data", "out", validation_examples=10)
    with pytest.raises(ConfigError, match="10 validation examples leave nothing to train on: the data set has 10"):
        settings.holdout(10)
    assert TrainConfig("data", "out").holdout(288) == (256, 32)
    assert TrainConfig("data", "out").holdout(112_000) == (112_000 - 4096, 4096)


def test_another_trainings_model_is_not_replaced(dataset: Dataset, tmp_path: Path) -> None:
    settings = config(dataset, tmp_path, epochs=1)
    assert already_trained(settings, dataset.manifest) == ""
    trained = loop.run(
        settings, dataset, tf.distribute.get_strategy(), WorkerContext(),
        lambda start: ((dataset.take(rows), rows) for rows in settings.order(dataset.manifest).worker_batches(start, 1, 0, 1)),
        lambda _: None,
    )  # fmt: skip
    uri = publish(settings, dataset, trained)
    assert already_trained(settings, dataset.manifest) == uri
    assert already_trained(replace(settings, epochs=2), dataset.manifest) == ""
    with pytest.raises(ConfigError, match=r"model_7_1\.keras was trained with other settings.*another --out"):
        already_trained(replace(settings, learning_rate=0.5), dataset.manifest)
    Path(uri).write_bytes(b"damaged")
    assert already_trained(settings, dataset.manifest) == ""


def test_the_run_digest_covers_what_the_weights_depend_on(dataset: Dataset) -> None:
    settings = TrainConfig("data", "out")
    digest = settings.run_digest(dataset.manifest)
    assert Path(settings.out).is_absolute()
    assert replace(settings, out="other", epochs=99, data="elsewhere").run_digest(dataset.manifest) == digest
    assert replace(settings, seed=1).run_digest(dataset.manifest) != digest
    assert replace(settings, validation_examples=7).run_digest(dataset.manifest) != digest
