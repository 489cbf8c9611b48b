"""Records, shards, manifests, storage and order: sounds and presets as a data set that can be trusted."""
