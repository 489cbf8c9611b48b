"""Sound files: reading, also of damaged ones, and writing."""
