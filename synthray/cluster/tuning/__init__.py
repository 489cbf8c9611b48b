"""Hyperparameter search on Ray Tune. Space and results are in ``synthray.tune``."""
