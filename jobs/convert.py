"""Run `synthray convert`, for `ray job submit -- python jobs/convert.py`."""

import sys

from synthray.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
