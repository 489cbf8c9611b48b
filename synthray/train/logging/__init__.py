"""Logs of a training: terminal, TensorBoard, MLflow.

Prometheus metrics are in ``synthray.cluster.training.metrics``, because Ray exports them.
"""
