"""The ``synthray`` command: one module for each subcommand."""
