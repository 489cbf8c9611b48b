"""One step, on one worker or on many: network, optimizer and the compiled functions that move them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import tensorflow as tf

from synthray.data.manifest import Manifest
from synthray.model.heads import HeadLayout
from synthray.model.losses import score
from synthray.model.networks import build_fused, check_network
from synthray.train.checkpoint import Checkpoint, Progress
from synthray.train.config import TrainConfig
from synthray.train.optimizers import build_optimizer


class TrainState:
    """The trained state and what changes it.

    All workers build it with the same arguments and call the same methods in the same order: each call of ``train``
    and ``all_reduce_sum`` meets those of the others in one all-reduce.
    """

    def __init__(self, config: TrainConfig, manifest: Manifest, strategy: tf.distribute.Strategy) -> None:
        check_network(config.network, manifest.feature_shape)
        self._config, self._strategy = config, strategy
        self._layout = HeadLayout(manifest.table)
        with strategy.scope():
            self.model = build_fused(
                config.network, manifest.feature_shape, self._layout, config.seed, config.width, config.precision
            )
            self.optimizer = build_optimizer(config, config.order(manifest).steps)
            self.optimizer.build(self.model.trainable_variables)
        self.share = -(-config.batch_size // strategy.num_replicas_in_sync)
        features = tf.TensorSpec((self.share, *manifest.feature_shape), tf.dtypes.as_dtype(manifest.feature_dtype))
        labels = tf.TensorSpec((self.share, len(manifest.table.learned)), tf.float32)
        weights = tf.TensorSpec((self.share,), tf.float32)
        number = tf.TensorSpec((), tf.float32)
        self._gradients = tf.function(self._gradients_of, jit_compile=config.jit)
        # always: AdamW is some fifteen operations on all of the weights, and one when XLA has fused them
        self._update = tf.function(self._update_by, jit_compile=True)
        self.train = tf.function(self._train, input_signature=[features, labels, weights, number, number])
        self.validate = tf.function(self._validate, input_signature=[features, labels, weights])
        self.all_reduce_sum = tf.function(self._add_up, input_signature=[tf.TensorSpec((4,), tf.float32)])

    def _train(
        self, features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, examples: tf.Tensor, vote: tf.Tensor
    ) -> tf.Tensor:
        """One step on this worker's share of a batch of ``examples``; a weight is 0 where the share holds padding.

        Returns:
            float32 ``(3,)``, of all workers together: the sum of the losses, how many examples it is of, and the sum of
            their votes.
        """

        def replica(*share: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
            loss, gradients = self._gradients(*share)
            return self._reduce([tf.stack([loss, tf.reduce_sum(weights), vote]), *gradients])

        sums, *gradients = self._strategy.run(replica, args=(features, labels, weights, examples))
        self._update(*gradients)
        return self._local(sums)

    def _gradients_of(
        self, features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, examples: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The sum of a share's losses, and the gradients of its part of the batch's mean loss."""
        variables = [variable.value for variable in self.model.trainable_variables]
        with tf.GradientTape() as tape:
            outputs = self.model(tf.cast(features, tf.float32), training=True)
            loss = tf.reduce_sum(score(outputs, labels, self._layout).loss * weights)
            # they are added up over the workers, so each one divides by the examples of all
            mean = loss / examples
        return loss, tape.gradient(mean, variables)

    def _update_by(self, *gradients: tf.Tensor) -> None:
        self.optimizer.apply(gradients, self.model.trainable_variables)

    def _reduce(self, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        """Sums over all workers: packed into one vector, because each all-reduce is a round of waiting."""
        if self._strategy.num_replicas_in_sync == 1:
            return tensors
        packed = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
        packed = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, packed)
        parts = tf.split(packed, [tensor.shape.num_elements() for tensor in tensors])
        return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def _validate(self, features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Sums over this share, with nothing changed.

        Returns:
            float32 ``(4,)``: losses, accuracies and errors, and how many examples they are of.
        """

        def replica(features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
            scores = score(self.model(tf.cast(features, tf.float32), training=False), labels, self._layout)
            return tf.stack([*(tf.reduce_sum(each * weights) for each in scores), tf.reduce_sum(weights)])

        return self._local(self._strategy.run(replica, args=(features, labels, weights)))

    def _add_up(self, sums: tf.Tensor) -> tf.Tensor:
        """Sums of all workers together."""
        # the identity puts the argument on this worker's device, where the all-reduce looks for it
        return self._local(self._strategy.run(lambda sums: self._reduce([tf.identity(sums)]), args=(sums,))[0])

    def _local(self, value: tf.Tensor) -> tf.Tensor:
        return self._strategy.experimental_local_results(value)[0]

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the weights are their moving average, where one is kept: what is validated and saved."""
        if not self.optimizer.use_ema:
            yield
            return
        kept = self.model.get_weights()
        self.optimizer.finalize_variable_values(self.model.trainable_variables)
        try:
            yield
        finally:
            self.model.set_weights(kept)

    def checkpoint(self, progress: Progress) -> Checkpoint:
        """The state as arrays, ``progress`` into the training."""
        # copies: on a CPU ``numpy()`` may show a variable's own memory, which the next step changes
        optimizer = [np.array(variable.numpy()) for variable in self.optimizer.variables]
        weights = [np.array(weight) for weight in self.model.get_weights()]
        return Checkpoint(progress, weights, optimizer, self._config.to_json())

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take on the state of a checkpoint of the same configuration."""
        self.model.set_weights(checkpoint.weights)
        for variable, value in zip(self.optimizer.variables, checkpoint.optimizer, strict=True):
            variable.assign(value)
