"""Where examples come from: batch files, the instrument, or rendering on the fly."""
