"""The ``synthray`` command: one module for each command. The work itself is done by the other packages."""
