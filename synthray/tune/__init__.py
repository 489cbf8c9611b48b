"""Hyperparameter search: its space and its results."""
