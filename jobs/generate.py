"""Run `synthray generate`, for `ray job submit -- python jobs/generate.py`."""

import sys

from synthray.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["generate", *sys.argv[1:]]))
