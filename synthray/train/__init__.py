"""Training: configuration, the loop, checkpoints, and its distribution over workers. TensorFlow."""
