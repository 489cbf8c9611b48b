"""synthray: from a sound to the synthesizer settings that make it, trained and served on Ray."""

__version__ = "0.1.0"
