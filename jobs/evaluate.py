"""Run `synthray evaluate`, for `ray job submit -- python jobs/evaluate.py`."""

import sys

from synthray.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
