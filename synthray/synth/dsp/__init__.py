"""The compiled signal processing of the voice."""
