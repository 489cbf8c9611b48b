"""Quality of a model: scores per parameter next to a baseline, and the distance between sounds.

Scoring on a cluster is in ``synthray.cluster.evaluation``.
"""
