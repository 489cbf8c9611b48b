"""Training with TensorFlow: settings, loop, checkpoints, logs.

Starting workers on a cluster is in ``synthray.cluster.training``.
"""
