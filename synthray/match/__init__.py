"""From a sound to a preset, and the distance between two sounds.

Networks and predictions are in ``synthray.model``.
"""
