"""Run `synthray serve`, for `ray job submit -- python jobs/serve.py`."""

import sys

from synthray.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
