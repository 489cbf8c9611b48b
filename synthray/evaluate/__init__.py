"""Quality of models: scores per parameter, distances between sounds, baselines, and a report.

Evaluation on a cluster is in ``synthray.cluster.evaluation``.
"""
