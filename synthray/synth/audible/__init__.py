"""Rules that tell whether a parameter of a preset can be heard."""
