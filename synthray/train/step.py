"""Run one step on one worker or on many: network, optimizer and their compiled functions.

``synthray.train.loop`` decides which steps to run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import tensorflow as tf

from synthray.data.dataset import Dataset
from synthray.data.examples import Examples
from synthray.data.order import PADDING
from synthray.model.architectures import ARCHITECTURES
from synthray.model.heads import HeadLayout
from synthray.model.losses import UNHEARD, score
from synthray.model.networks import build_fused, check_network
from synthray.synth.audible.audible import audible
from synthray.synth.instrument import INSTRUMENT
from synthray.train.checkpoint import Checkpoint, TrainProgress
from synthray.train.config import TrainConfig
from synthray.train.optimizers import build_optimizer

Share = tuple[Examples, np.ndarray]
"""A worker's part of a batch: examples and their rows in the data set, ``PADDING`` where there is no example."""
Tensors = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""A share as tensors: features, labels, and weights that are 0 for padding."""


def to_tensors(batch: Examples, rows: np.ndarray, *, audible_only: bool = False) -> Tensors:
    """Return a share as tensors.

    Args:
        batch: the examples of the share. ``audible_only`` requires sounds of synthray's own instrument.
        rows: rows of the examples in the data set, ``PADDING`` where there is no example.
        audible_only: leave inaudible parameters out of the loss.
    """
    weights = (rows != PADDING).astype(np.float32)
    labels = batch.labels
    if audible_only:
        labels = np.where(audible(INSTRUMENT.labels_to_settings(labels)), labels, np.float32(UNHEARD))
    return tf.constant(batch.features), tf.constant(labels, tf.float32), tf.constant(weights)


def means(sums: np.ndarray | tf.Tensor) -> list[float]:
    """Return the means of sums whose last element is the number of examples."""
    *totals, examples = np.asarray(sums).tolist()
    return [total / examples for total in totals]


class TrainState:
    """The weights and the optimizer of a training, and the functions that change them.

    All workers build it with the same arguments and call its methods in the same order. Each call of ``train`` and of
    ``all_reduce_sum`` is one all-reduce over all workers.
    """

    def __init__(self, config: TrainConfig, dataset: Dataset, strategy: tf.distribute.Strategy) -> None:
        manifest = dataset.manifest
        check_network(config.network, dataset.feature_shape)
        config.check_labels(manifest)
        self._config, self._strategy = config, strategy
        self._layout = HeadLayout(manifest.table, ARCHITECTURES[config.network].bins)
        with strategy.scope():
            self.model = build_fused(
                config.network,
                dataset.feature_shape,
                self._layout,
                config.seed,
                config.width,
                config.precision,
                normalise=config.normalises(dataset),
            )
            self.optimizer = build_optimizer(config, config.order(manifest).steps)
            self.optimizer.build(self.model.trainable_variables)
        self.share = -(-config.batch_size // strategy.num_replicas_in_sync)
        self._compile(dataset)

    def _compile(self, dataset: Dataset) -> None:
        manifest = dataset.manifest
        features = tf.TensorSpec((self.share, *dataset.feature_shape), tf.dtypes.as_dtype(manifest.feature_dtype))
        labels = tf.TensorSpec((self.share, len(manifest.table.learned)), tf.float32)
        weights = tf.TensorSpec((self.share,), tf.float32)
        number = tf.TensorSpec((), tf.float32)
        self._gradients = tf.function(self._compute_gradients, jit_compile=self._config.jit)
        # AdamW is some fifteen operations on all weights, which XLA fuses into one. Muon consists of matrix products.
        # On a CPU, XLA computes them without bfloat16 instructions.
        self._update = tf.function(self._apply_gradients, jit_compile=self._config.optimizer != "muon")
        self.train = tf.function(self._train, input_signature=[features, labels, weights, number, number])
        self.validate = tf.function(self._validate, input_signature=[features, labels, weights])
        self.all_reduce_sum = tf.function(self._all_reduce_sum, input_signature=[tf.TensorSpec((4,), tf.float32)])

    def _train(
        self, features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, examples: tf.Tensor, stop_vote: tf.Tensor
    ) -> tf.Tensor:
        """Train one step on this worker's share of a batch of ``examples``.

        Args:
            weights: 0 where the share holds padding, else 1.
            stop_vote: 1 if this worker was asked to stop, else 0.

        Returns:
            float32 ``(3,)``, summed over all workers: the losses, the number of examples, and the stop votes.
        """

        def replica(*share: tf.Tensor) -> list[tf.Tensor]:
            loss, gradients = self._gradients(*share)
            return self._reduce([tf.stack([loss, tf.reduce_sum(weights), stop_vote]), *gradients])

        sums, *gradients = self._strategy.run(replica, args=(features, labels, weights, examples))
        self._update(*gradients)
        return self._local(sums)

    def _compute_gradients(
        self, features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, examples: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return the sum of this worker's losses, and the gradients of that sum divided by the size of the batch."""
        variables = [variable.value for variable in self.model.trainable_variables]
        with tf.GradientTape() as tape:
            outputs = self.model(tf.cast(features, tf.float32), training=True)
            loss = tf.reduce_sum(score(outputs, labels, self._layout).loss * weights)
            # Gradients are summed over the workers, so each worker divides by the number of examples of all workers.
            mean = loss / examples
        return loss, tape.gradient(mean, variables)

    def _apply_gradients(self, *gradients: tf.Tensor) -> None:
        self.optimizer.apply(gradients, self.model.trainable_variables)

    def _reduce(self, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        """Sum tensors over all workers, packed into one vector because each all-reduce waits for every worker."""
        if self._strategy.num_replicas_in_sync == 1:
            return tensors
        packed = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
        packed = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, packed)
        parts = tf.split(packed, [tensor.shape.num_elements() for tensor in tensors])
        return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def _validate(self, features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Score this worker's share without changing anything.

        Returns:
            float32 ``(4,)``: sums of losses, accuracies and errors, and the number of examples.
        """

        def replica(features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
            scores = score(self.model(tf.cast(features, tf.float32), training=False), labels, self._layout)
            return tf.stack([*(tf.reduce_sum(each * weights) for each in scores), tf.reduce_sum(weights)])

        return self._local(self._strategy.run(replica, args=(features, labels, weights)))

    def _all_reduce_sum(self, sums: tf.Tensor) -> tf.Tensor:
        """Sum a vector over all workers."""
        # tf.identity copies the argument to this worker's device, where the all-reduce expects it.
        return self._local(self._strategy.run(lambda sums: self._reduce([tf.identity(sums)]), args=(sums,))[0])

    def _local(self, value: tf.Tensor) -> tf.Tensor:
        return self._strategy.experimental_local_results(value)[0]

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Replace the weights by their moving average within the block, if the training keeps one."""
        if not self.optimizer.use_ema:
            yield
            return
        trained = self.model.get_weights()
        self.optimizer.finalize_variable_values(self.model.trainable_variables)
        try:
            yield
        finally:
            self.model.set_weights(trained)

    def checkpoint(self, progress: TrainProgress) -> Checkpoint:
        """Return a copy of the state of a training that has reached ``progress``."""
        # Copies: on a CPU, ``numpy()`` may share a variable's memory, which the next step changes.
        optimizer = [np.array(variable.numpy()) for variable in self.optimizer.variables]
        weights = [np.array(weight) for weight in self.model.get_weights()]
        return Checkpoint(progress, weights, optimizer, self._config.to_json())

    def restore(self, checkpoint: Checkpoint) -> None:
        """Set the state to a checkpoint of the same configuration."""
        self.model.set_weights(checkpoint.weights)
        for variable, value in zip(self.optimizer.variables, checkpoint.optimizer, strict=True):
            variable.assign(value)
