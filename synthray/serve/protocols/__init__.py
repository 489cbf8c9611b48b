"""Predictions from features: the protocols of TensorFlow Serving and Open Inference."""
