"""Data sets: examples, Parquet shards, manifests, and the order in which training reads them."""
