"""The instrument: parameters, presets, the voice, features and sound files.

It needs NumPy, SciPy, Numba, soundfile and soxr only.
"""
