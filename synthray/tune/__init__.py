"""Hyperparameter search: space, configuration and results. Running trials is in ``synthray.cluster.tuning.tuner``."""
