"""Data sets: examples, Parquet shards, manifests and the training order."""
