"""Build Keras's optimizers and learning rate schedules from a configuration.

Their defaults are in ``synthray.train.config``.
"""

from __future__ import annotations

from typing import Any

import keras

from synthray.model.heads import FUSED_NAME
from synthray.train.config import TrainConfig

# Keras requires a valid momentum even if ``use_ema`` is False.
_UNUSED_EMA = 0.99
_MOST_WARMUP_STEPS = 500
# Muon leaves heads, convolutions and biases to Adam, whose usual learning rates are lower.
_MUON_ADAM_SHARE = 0.3


def build_optimizer(config: TrainConfig, epoch_steps: int) -> keras.optimizers.Optimizer:
    """Return the optimizer of a training whose epochs have ``epoch_steps`` steps.

    It clips the gradients that it gets, so these must already be summed over all workers.
    """
    options = {
        "learning_rate": _learning_rate(config, epoch_steps),
        "global_clipnorm": config.clip_norm,
        "use_ema": config.ema is not None,
        "ema_momentum": config.ema or _UNUSED_EMA,
    }
    if config.optimizer == "adamw":
        # AdamW rejects None.
        return keras.optimizers.AdamW(weight_decay=config.weight_decay, **options)
    if config.optimizer == "muon":
        decay = {"weight_decay": config.weight_decay, "adam_weight_decay": config.weight_decay}
        return _Muon(config.precision, exclude_layers=[FUSED_NAME], adam_lr_ratio=_MUON_ADAM_SHARE, **decay, **options)
    # None saves SGD a pass over the weights.
    return keras.optimizers.SGD(weight_decay=config.weight_decay or None, **options)


def _learning_rate(config: TrainConfig, epoch_steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    peak, warmup_steps = config.learning_rate, config.warmup_steps
    if warmup_steps is None:
        # The warmup must not depend on the epochs, because they may be raised later.
        warmup_steps = min(epoch_steps // 2, _MOST_WARMUP_STEPS)
    if config.schedule == "cosine":
        decay_steps = max(1, config.epochs * epoch_steps - warmup_steps)
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup_steps else peak,
            decay_steps,
            warmup_target=peak if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    if warmup_steps:
        return keras.optimizers.schedules.PolynomialDecay(0.0, warmup_steps, end_learning_rate=peak)
    return peak


class _Muon(keras.optimizers.Muon):  # type: ignore[misc]  # Keras has no types
    """Muon (Jordan et al. 2024), whose matrix products have the precision of the layers."""

    def __init__(self, precision: str, **options: Any) -> None:
        super().__init__(name="muon", **options)
        self._product_dtype = keras.dtype_policies.get(precision).compute_dtype

    def zeropower_via_newtonschulz5(self, x: keras.KerasTensor, steps: int) -> keras.KerasTensor:
        """Return approximately the orthogonal matrix nearest to ``x``; see Keras's own function.

        The norm is computed before the numbers are rounded.
        """
        x = x / (keras.ops.norm(x) + keras.config.epsilon())
        nearest = super().zeropower_via_newtonschulz5(keras.ops.cast(x, self._product_dtype), steps)
        return keras.ops.cast(nearest, "float32")
