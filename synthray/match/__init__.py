"""From a sound to a preset, and distances between sounds.

Networks and predictions are in ``synthray.model``.
"""
