"""Run `synthray tune`, for `ray job submit -- python jobs/tune.py`."""

import sys

from synthray.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["tune", *sys.argv[1:]]))
