"""The ``synthray`` command line: finds the command and runs it. Each command's flags are in the module of its name."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from importlib import import_module

import synthray.progress  # noqa: F401 - sets PROCESS_STARTED_S
from synthray import __version__
from synthray.cli.outputs import require_kept_outputs
from synthray.cli.runner import PARSER_OPTIONS, run
from synthray.proxies import bypass

COMMANDS = {
    "generate": "render random presets into training data",
    "convert": "convert NumPy/pickle batches into a data set",
    "train": "train a network on a data set",
    "tune": "search for the best training settings",
    "evaluate": "score models on a data set, with a report to listen to",
    "serve": "serve a model over HTTP",
    "match": "predict the preset of a sound file",
    "render": "render a preset to a WAV file",
    "random": "write a random preset",
    "data": "list, show and verify data sets",
    "models": "list, show and promote models",
}
EXAMPLES = """\
examples:
  synthray generate --format parquet
  synthray train --workers 2
  synthray match sound.wav --out preset.json --wav match.wav
  synthray models ls

`synthray COMMAND --help` shows the flags of a command.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    # Sounds are spread over threads and processes here. Threads of OpenBLAS, NumPy's matrix library, wait for each
    # other on a busy machine. It reads the variable when NumPy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.update(bypass(os.environ))
    return run(_run_command, build_parser(argv), argv)


def _run_command(arguments: Namespace) -> None:
    require_kept_outputs(arguments)
    arguments.command(arguments)


def build_parser(argv: Sequence[str]) -> ArgumentParser:
    """Return the parser of all commands, with the flags of those that ``argv`` names.

    The other commands' modules are not imported, so that every command starts fast.
    """
    parser = ArgumentParser(
        "synthray",
        description="From a sound to the synthesizer settings that make it.",
        epilog=EXAMPLES,
        **PARSER_OPTIONS,
    )
    parser.add_argument("--version", action="version", version=f"synthray {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, **PARSER_OPTIONS)
        if name in argv:
            import_module(f"synthray.cli.{name}").configure(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
