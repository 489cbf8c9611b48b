"""Settings of a training: checks, files of settings, hold-out and run digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest

from synthray.data.dataset import Dataset
from synthray.data.manifest import Manifest, Shard
from synthray.data.order import PADDING, EpochOrder
from synthray.errors import ConfigError, NotFound
from synthray.model.architectures import ARCHITECTURES
from synthray.train.config import RECIPE, SETTINGS, TrainConfig, load_settings, with_recipe
from tests.models import FOREIGN, FOREIGN_SHAPE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "huge"}, r"network is 'huge'\. It must be one of: notebook, log"),
        ({"optimizer": "lion"}, r"optimizer is 'lion'\. It must be one of: sgd, adamw"),
        ({"schedule": "steps"}, "schedule is 'steps'"),
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"width": 0}, "width is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"validation_examples": 0}, "validation_examples is 0"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
        ({"weight_decay": float("nan")}, "weight_decay is nan"),
        ({"clip_norm": 0.0}, r"clip_norm is 0\.0"),
        ({"ema": 1.0}, r"ema is 1\.0\. It must be between 0 and 1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_setting_is_an_error(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig("data", "out", **changes)


def test_every_network_name_can_be_built() -> None:
    from synthray.model import networks

    assert networks.NETWORKS.keys() == ARCHITECTURES.keys()


def manifest_of(*parts: int) -> Manifest:
    """Return the manifest of a data set of so many rows, to which others were appended."""
    folders = [*(f"../{number}/shards" for number in range(len(parts) - 1)), "shards"]
    shards = tuple(
        Shard(f"{folder}/{number:05d}.parquet", min(256, rows - 256 * number), 1, "0")
        for folder, rows in zip(folders, parts, strict=True)
        for number in range(-(-rows // 256))
    )
    sources = [{"kind": "test", "digest": str(rows), "batches": rows // 32} for rows in parts]
    source = sources[0] if len(parts) == 1 else {"kind": "appended", "parts": sources}
    return Manifest(FOREIGN, FOREIGN_SHAPE, "float32", source, shards, {})


def test_holdout_is_a_ninth_at_most_4096_and_leaves_rows_to_train_on() -> None:
    assert TrainConfig("data", "out").holdout(manifest_of(288)) == (256, 32)
    assert TrainConfig("data", "out").holdout(manifest_of(112_000)) == (112_000 - 4096, 4096)
    config = TrainConfig("data", "out", validation_examples=10)
    with pytest.raises(ConfigError, match="10 validation examples leave nothing to train on: the data set has 10"):
        config.holdout(manifest_of(10))


@pytest.mark.parametrize("parts", [(1000,), (1000, 300), (1000, 300, 5000), (1000, 5000), (256, 256, 256)])
@pytest.mark.parametrize("examples", [None, 100])
def test_holdout_is_not_moved_by_an_append_and_all_other_rows_are_trained_on(
    parts: tuple[int, ...], examples: int | None
) -> None:
    config = TrainConfig("data", "out", validation_examples=examples)
    grown = manifest_of(*parts)
    first, count = config.holdout(manifest_of(parts[0]))
    assert grown.first_part_rows == parts[0]
    assert config.holdout(grown) == (first, count)
    trained = np.concatenate(list(config.order(grown).worker_batches((0, 0), 1, 0, 1)))
    held_out = range(first, first + count)
    assert sorted(trained[trained != PADDING].tolist()) == [row for row in range(sum(parts)) if row not in held_out]


def test_order_and_digest_of_a_data_set_without_an_append_are_as_before() -> None:
    """Checkpoints of earlier releases are resumed only where both are the same."""
    config, manifest = TrainConfig("data", "out", seed=3), manifest_of(1000)
    ends = np.minimum(np.cumsum([shard.rows for shard in manifest.shards]), config.holdout(manifest)[0])
    before = EpochOrder(tuple(np.diff(ends, prepend=0).tolist()), 32, 3)
    for old, new in zip(
        before.worker_batches((0, 5), 2, 1, 2), config.order(manifest).worker_batches((0, 5), 2, 1, 2), strict=True
    ):
        np.testing.assert_array_equal(old, new)
    grown = manifest_of(1000, 300)
    for data, is_as_before in ((manifest, True), (grown, False)):
        relevant = {"seed": 3, "learning_rate": config.learning_rate, "weight_decay": config.weight_decay}
        text = json.dumps(relevant | {"data": data.digest}, sort_keys=True)
        assert (config.run_digest(data) == hashlib.sha256(text.encode()).hexdigest()[:16]) == is_as_before


def test_load_settings_reads_what_a_card_holds(tmp_path: Path) -> None:
    config = TrainConfig("data", "out", optimizer="adamw", ema=0.99, width=64)
    assert (config.learning_rate, config.weight_decay) == (0.001, 0.004)
    settings = {name: value for name, value in config.to_json().items() if name in SETTINGS}
    (tmp_path / "best.json").write_text(json.dumps(settings))
    assert TrainConfig("data", "out", **load_settings(str(tmp_path / "best.json"))) == config


def test_load_settings_of_null_gives_the_optimizers_default(tmp_path: Path) -> None:
    (tmp_path / "best.json").write_text('{"optimizer": "adamw", "weight_decay": null, "learning_rate": null}')
    config = TrainConfig("data", "out", **load_settings(str(tmp_path / "best.json")))
    assert config == TrainConfig("data", "out", optimizer="adamw")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"best\.json: not JSON"),
        ("[1]", r"best\.json: not a JSON object"),
        (
            '{"widht": 3, "data": "x"}',
            r"best\.json: unknown settings \(data, widht\)\. Choose from audible_only, batch_size, ",
        ),
        ('{"epochs": "3"}', r'best\.json: epochs is "3"\. It must be int'),
        ('{"jit": 1}', r"best\.json: jit is 1\. It must be bool"),
        ('{"ema": [0.9]}', r"best\.json: ema is \[0\.9\]\. It must be float or null"),
    ],
)
def test_load_settings_of_a_wrong_file_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "best.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(str(tmp_path / "best.json"))


def test_load_settings_of_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.json"):
        load_settings(str(tmp_path / "none.json"))


def test_run_digest_covers_what_weights_depend_on(dataset: Dataset) -> None:
    config = TrainConfig("data", "out")
    digest = config.run_digest(dataset.manifest)
    assert Path(config.out).is_absolute()
    same = {"out": "other", "epochs": 99, "data": "elsewhere", "checkpoint_steps": 1, "keep_checkpoints": 1}
    assert replace(config, **same).run_digest(dataset.manifest) == digest
    manifest = replace(dataset.manifest, shards=dataset.manifest.shards[:1])
    digests = {digest, config.run_digest(manifest)}
    changes = {
        "network": "log", "width": 128, "batch_size": 16, "seed": 1, "optimizer": "adamw", "learning_rate": 0.1,
        "weight_decay": 0.1, "schedule": "cosine", "warmup_steps": 1, "clip_norm": 1.0, "ema": 0.5,
        "precision": "mixed_bfloat16", "normalise": True, "audible_only": True, "jit": True, "validation_examples": 7,
    }  # fmt: skip
    assert changes.keys() | same.keys() == {field.name for field in fields(TrainConfig)}
    for name, value in changes.items():
        digests.add(replace(config, **{name: value}).run_digest(dataset.manifest))
    assert len(digests) == 2 + len(changes)


def test_run_digest_covers_the_epochs_if_the_schedule_does(dataset: Dataset) -> None:
    cosine = TrainConfig("data", "out", schedule="cosine")
    assert replace(cosine, epochs=99).run_digest(dataset.manifest) != cosine.run_digest(dataset.manifest)


@dataclass(frozen=True)
class NextRelease(TrainConfig):
    """The settings with one more option, as a later release may have."""

    label_smoothing: float = 0.0


def test_run_digest_with_a_new_option_stays_the_same(dataset: Dataset) -> None:
    for changes in ({}, {"optimizer": "adamw", "seed": 3}):
        before = TrainConfig("data", "out", **changes).run_digest(dataset.manifest)
        assert NextRelease("data", "out", **changes).run_digest(dataset.manifest) == before
        assert NextRelease("data", "out", label_smoothing=0.1, **changes).run_digest(dataset.manifest) != before


OLD_DIGESTS = [
    ({}, "d252f3ed7b9ca567"),
    ({"network": "histogram"}, "0d4064992f37ebdf"),
    (
        {"network": "histogram", "optimizer": "adamw", "schedule": "cosine", "warmup_steps": 3, "clip_norm": 5.0},
        "64926c1aa27441b2",
    ),
    ({"network": "log", "optimizer": "adamw", "weight_decay": 0.0, "ema": 0.9}, "9d741366af1b5c4d"),
]


@pytest.mark.parametrize(("settings", "digest"), OLD_DIGESTS)
def test_run_digest_is_that_of_version_0_1(settings: dict, digest: str, dataset: Dataset) -> None:
    manifest = replace(dataset.manifest)
    vars(manifest)["digest"] = "0" * 64
    assert TrainConfig("data", "out", **settings).run_digest(manifest) == digest


@pytest.mark.parametrize("network", ARCHITECTURES)
def test_recipe_is_for_trainings_without_a_named_network(network: str) -> None:
    assert with_recipe({"epochs": 3, "optimizer": "sgd"}) == RECIPE | {"epochs": 3, "optimizer": "sgd"}
    assert with_recipe({"network": network}) == {"network": network}
    config = TrainConfig("data", "out", **with_recipe({}))
    assert (config.network, config.optimizer, config.learning_rate) == ("histogram", "adamw", 0.001)


@pytest.mark.parametrize(("low", "high"), [(20.0, 20_000.0), (-96.0, 0.0), (0.0, 1.2), (-0.1, 0.5)])
def test_labels_that_a_histogram_does_not_cover_are_an_error(low: float, high: float, dataset: Dataset) -> None:
    name = dataset.manifest.table.ranges[0].name
    found = dataset.manifest.statistics
    manifest = replace(dataset.manifest, statistics=found | {name: found[name] | {"minimum": low, "maximum": high}})
    config = TrainConfig("data", "out", **RECIPE)
    with pytest.raises(ConfigError, match=rf"{name}: its positions are from {low:g} to {high:g}, but.*random_values"):
        config.check_labels(manifest)
    config.check_labels(dataset.manifest)
    replace(config, network="notebook").check_labels(manifest)


def test_normalises_stored_features_only() -> None:
    config = TrainConfig("synth://?batches=2", "out", **with_recipe({}))
    assert not config.normalises(config.open_data())  # the analysis ``spectra`` is in [-1, 1]
    named = replace(config, network="log")
    assert named.normalises(named.open_data())
    assert not replace(named, normalise=False).normalises(named.open_data())


def test_defaults_are_those_of_existing_checkpoints() -> None:
    """A changed default would let a training resume from the checkpoints of other settings."""
    assert {field.name: field.default for field in fields(TrainConfig) if field.name in SETTINGS} == {
        "network": "notebook", "width": 256, "epochs": 20, "batch_size": 32, "seed": 0, "optimizer": "sgd",
        "learning_rate": None, "weight_decay": None, "schedule": "constant", "warmup_steps": 0, "clip_norm": None,
        "ema": None, "precision": "float32", "normalise": False, "audible_only": False, "jit": False,
        "validation_examples": None, "checkpoint_steps": 1000, "keep_checkpoints": 3,
    }  # fmt: skip
