"""One training step and the state that it changes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from synthray.data.dataset import Dataset
from synthray.train.checkpoint import TrainProgress
from synthray.train.config import PRECISIONS, SCHEDULES, WEIGHT_DECAYS, TrainConfig
from synthray.train.optimizers import build_optimizer
from synthray.train.step import TrainState


def make_state(dataset: Dataset, **settings: object) -> TrainState:
    config = TrainConfig("data", "out", batch_size=4, **settings)
    return TrainState(config, dataset, tf.distribute.get_strategy())


def test_padding_does_not_change_the_weights(dataset: Dataset) -> None:
    batch = dataset.take(np.arange(4))
    noise = np.random.default_rng(0).random(batch.features[2:].shape).astype(np.float32)
    trained = []
    for padding in (np.zeros_like(noise), noise):
        state = make_state(dataset)
        features = np.concatenate([batch.features[:2], padding])
        sums = state.train(features, batch.labels, np.array([1, 1, 0, 0], np.float32), np.float32(2), np.float32(0))
        assert sums.numpy()[1] == 2
        trained.append(state.model.get_weights())
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)


def test_checkpoint_does_not_change_with_later_steps(dataset: Dataset) -> None:
    """A checkpoint is written while the training continues."""
    batch = dataset.take(np.arange(4))
    state = make_state(dataset, ema=0.9)

    def step() -> None:
        state.train(batch.features, batch.labels, np.ones(4, np.float32), np.float32(4), np.float32(0))

    step()
    checkpoint = state.checkpoint(TrainProgress())
    before = checkpoint.encode()
    step()
    assert checkpoint.encode() == before
    assert state.checkpoint(TrainProgress()).encode() != before


def test_optimizer_without_settings_has_the_defaults_of_keras() -> None:
    for name, default in (("sgd", keras.optimizers.SGD()), ("adamw", keras.optimizers.AdamW())):
        config = TrainConfig("data", "out", optimizer=name)
        built = build_optimizer(config, 1)
        assert type(built) is type(default)
        assert built.weight_decay == default.weight_decay
        assert float(built.learning_rate) == float(default.learning_rate)
        assert config.weight_decay == (default.weight_decay or 0.0) == WEIGHT_DECAYS[name]


@pytest.mark.parametrize(("epoch_steps", "warmup"), [(1, 0), (3, 1), (100, 50), (4000, 500)])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warmup_of_the_recipe_is_half_of_the_first_epoch_at_most_500_steps(
    schedule: str, epoch_steps: int, warmup: int
) -> None:
    config = TrainConfig("data", "out", schedule=schedule, warmup_steps=None, learning_rate=0.5)
    optimizer = build_optimizer(config, epoch_steps)
    rates = []
    for step in range(warmup + 1):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    assert int(np.argmax(rates)) == warmup
    assert rates[-1] == 0.5


@pytest.mark.parametrize("precision", PRECISIONS)
def test_muon_turns_dense_layers_and_leaves_the_rest_to_adam(precision: str) -> None:
    config = TrainConfig("data", "out", optimizer="muon", weight_decay=0.0, precision=precision, learning_rate=0.1)
    optimizer = build_optimizer(config, 1)
    random = np.random.default_rng(0)
    kernels = [keras.Variable(np.zeros((48, 16)), name=name) for name in ("dense", "heads")]
    gradients = [random.normal(size=(48, 16)).astype(np.float32) for _ in kernels]
    optimizer.apply(gradients, kernels)
    dense, heads = (kernel.numpy() for kernel in kernels)
    assert optimizer.weight_decay == 0
    left, _, right = np.linalg.svd(gradients[0], full_matrices=False)
    nearest = -0.1 * 0.2 * np.sqrt(48) * left @ right  # Liu et al. 2025, equation 4
    assert np.sum(dense * nearest) / np.linalg.norm(dense) / np.linalg.norm(nearest) > 0.98
    assert 0.8 < np.linalg.norm(dense) / np.linalg.norm(nearest) < 1.2
    np.testing.assert_allclose(heads, -0.03 * np.sign(gradients[1]), rtol=1e-2)  # Adam's first step


def test_adamw_with_weight_decay_zero_has_none() -> None:
    assert build_optimizer(TrainConfig("data", "out", optimizer="adamw", weight_decay=0.0), 1).weight_decay == 0.0
