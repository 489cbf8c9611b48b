"""Quality of a model: scores per parameter, baselines, and a report.

Scoring on a cluster is in ``synthray.cluster.evaluation``.
"""
