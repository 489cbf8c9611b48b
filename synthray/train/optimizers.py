"""Optimizers and schedules: Keras's own, from a configuration."""

from __future__ import annotations

import keras

from synthray.train.config import TrainConfig


def build_optimizer(config: TrainConfig, epoch_steps: int) -> keras.optimizers.Optimizer:
    """The optimizer of a training whose epochs have ``epoch_steps`` steps.

    It is to be given gradients that are added up over all workers already: it clips what it gets.
    """
    options = {
        "learning_rate": _schedule(config, epoch_steps),
        "weight_decay": config.weight_decay or None,
        "global_clipnorm": config.clip_norm,
        "use_ema": config.ema is not None,
        "ema_momentum": config.ema or 0.99,
    }
    if config.optimizer == "adamw":
        return keras.optimizers.AdamW(**options | {"weight_decay": config.weight_decay})
    return keras.optimizers.SGD(**options)


def _schedule(config: TrainConfig, epoch_steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    rate, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "cosine":
        steps = max(1, config.epochs * epoch_steps - warmup)
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate, steps, warmup_target=rate if warmup else None, warmup_steps=warmup
        )
    if warmup:
        return keras.optimizers.schedules.PolynomialDecay(0.0, warmup, end_learning_rate=rate)
    return rate
