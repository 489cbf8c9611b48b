"""From batches of examples to a published data set: plan, shards, manifest.

Running these steps on a cluster is the task of ``synthray.cluster.build``.
"""
