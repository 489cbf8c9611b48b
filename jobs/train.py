"""Run `synthray train`, for `ray job submit -- python jobs/train.py`."""

import sys

from synthray.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
