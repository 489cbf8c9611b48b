"""The instrument: parameters, presets, the voice, features and sound files. NumPy, SciPy and Numba only."""
