"""From a sound to a preset, and how close the two sound."""
