"""One step, on one worker or on many: network, optimizer and the compiled functions that move them."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf

from synthray.data.manifest import Manifest
from synthray.model.heads import HeadLayout
from synthray.model.losses import score
from synthray.model.networks import build_fused, check_network
from synthray.train.checkpoint import Checkpoint, Progress
from synthray.train.config import TrainConfig


class Steps:
    """The trained state and what changes it.

    All workers build it with the same arguments and call the same methods in the same order: a training step and
    ``add_up`` each meet in an all-reduce.
    """

    def __init__(self, config: TrainConfig, manifest: Manifest, strategy: tf.distribute.Strategy) -> None:
        check_network(config.model, manifest.feature_shape)
        self._strategy = strategy
        self._layout = HeadLayout(manifest.table)
        with strategy.scope():
            self.model = build_fused(config.model, manifest.feature_shape, self._layout, config.seed)
            self.optimizer = keras.optimizers.SGD(config.learning_rate)
            self.optimizer.build(self.model.trainable_variables)
        share = config.batch_size // strategy.num_replicas_in_sync
        features = tf.TensorSpec((share, *manifest.feature_shape), tf.dtypes.as_dtype(manifest.feature_dtype))
        labels = tf.TensorSpec((share, len(manifest.table.learned)), tf.float32)
        weights = tf.TensorSpec((share,), tf.float32)
        self.share = share
        self.train = tf.function(
            self._train, input_signature=[features, labels, weights, tf.TensorSpec((), tf.float32)]
        )
        self.validate = tf.function(self._validate, input_signature=[features, labels, weights])
        self.add_up = tf.function(self._add_up, input_signature=[tf.TensorSpec((4,), tf.float32)])

    def _train(self, features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, examples: tf.Tensor) -> tf.Tensor:
        """One step on this worker's share of a batch of ``examples``; a weight is 0 where the share holds padding.

        Returns:
            float32 ``(4,)``: sums of loss, accuracy and error over this share, and how many examples they are of.
        """

        def replica(features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                scores = score(self.model(tf.cast(features, tf.float32), training=True), labels, self._layout)
                # gradients are added up over the workers, so each one divides by the examples of all
                loss = tf.reduce_sum(scores.loss * weights) / examples
            variables = self.model.trainable_variables
            gradients = tape.gradient(loss, [variable.value for variable in variables])
            self.optimizer.apply(gradients, variables)
            return _sums(scores, weights)

        return self._local(self._strategy.run(replica, args=(features, labels, weights)))

    def _validate(self, features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Sums as ``train`` gives them, with nothing changed."""

        def replica(features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
            outputs = self.model(tf.cast(features, tf.float32), training=False)
            return _sums(score(outputs, labels, self._layout), weights)

        return self._local(self._strategy.run(replica, args=(features, labels, weights)))

    def _add_up(self, sums: tf.Tensor) -> tf.Tensor:
        """Sums of all workers together."""

        def replica(sums: tf.Tensor) -> tf.Tensor:
            # the identity puts the argument on this worker's device, where the all-reduce looks for it
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(sums))

        return self._local(self._strategy.run(replica, args=(sums,)))

    def _local(self, value: tf.Tensor) -> tf.Tensor:
        return self._strategy.experimental_local_results(value)[0]

    def checkpoint(self, progress: Progress) -> Checkpoint:
        """The state as arrays, ``progress`` into the training."""
        optimizer = [np.asarray(variable.numpy()) for variable in self.optimizer.variables]
        return Checkpoint(progress, self.model.get_weights(), optimizer)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take on the state of a checkpoint of the same configuration."""
        self.model.set_weights(checkpoint.weights)
        for variable, value in zip(self.optimizer.variables, checkpoint.optimizer, strict=True):
            variable.assign(value)


def _sums(scores: tuple[tf.Tensor, ...], weights: tf.Tensor) -> tf.Tensor:
    return tf.stack([*(tf.reduce_sum(score * weights) for score in scores), tf.reduce_sum(weights)])
