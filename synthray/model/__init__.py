"""Networks, heads, losses, saved models, registry and predictor, in Keras 3.

Training is in ``synthray.train``, matching a sound in ``synthray.match``.
"""
