"""synthray: from a sound to the synthesizer settings that make it. The command line is in ``synthray.cli``."""

__version__ = "0.1.0"
