"""Networks, heads, losses, saved models, their registry and the predictor, in Keras 3.

Training is in ``synthray.train``, matching a sound in ``synthray.match``.
"""
