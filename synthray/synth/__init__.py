"""The instrument: parameter table, voice, features and random presets. NumPy, SciPy and Numba only."""
