"""Sources of examples: batch files, the instrument, and rendering on the fly."""
