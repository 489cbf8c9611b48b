"""Training on Ray Train. The loop itself is in ``synthray.train``."""
