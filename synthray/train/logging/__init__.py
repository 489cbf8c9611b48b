"""Logs of a training: terminal, TensorBoard, MLflow.

Prometheus metrics are in ``synthray.cluster.metrics``, because Ray exports them.
"""
