"""What every job and the command line share: ``--verbose``, one-line errors, exit codes, how tables look.

Exit codes: 0 what was asked for exists; 1 a failure, told in one line; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import os
import select
import sys
import traceback
from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from synthray.errors import ConfigError, SynthrayError

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130


def run(main: Callable[[Namespace], None], parser: ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Parse ``argv`` (default: the process's own), call ``main`` with it, return the exit code.

    ``parser`` gains ``--verbose``; the parsers of subcommands get it from :func:`add_verbose`, so that it may stand
    before and after the subcommand. argparse itself ends the process for ``--help`` (0) and for a wrong flag (2).
    """
    add_verbose(parser)
    parser.set_defaults(verbose=False)
    arguments = parser.parse_args(argv)
    try:
        main(arguments)
        sys.stdout.flush()
    except BrokenPipeError as error:
        if not _has_no_reader():
            return _failed(parser, arguments, error)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return FAILED
    except KeyboardInterrupt as interrupt:
        if str(interrupt):
            print(f"{parser.prog}: {interrupt}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return _failed(parser, arguments, error)
    return 0


def _failed(parser: ArgumentParser, arguments: Namespace, error: Exception) -> int:
    if arguments.verbose:
        traceback.print_exc()
    print(f"{parser.prog}: {_one_line(error)}", file=sys.stderr)
    return WRONG_USAGE if isinstance(error, ConfigError) else FAILED


def _has_no_reader() -> bool:
    """Whether who reads our output has left, as ``| head`` does when it has enough."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)  # of a pipe without a reader it tells unasked
    return bool(output.poll(0))


def job_parser(file: str, doc: str | None) -> ArgumentParser:
    """A parser named after a job's file, its help made of the job's docstring: what it does, then examples."""
    summary, _, examples = (doc or "").partition("\n\n")
    return ArgumentParser(
        Path(file).name,
        description=summary,
        epilog=f"examples:\n\n{examples}",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_verbose(parser: ArgumentParser) -> None:
    """Add ``--verbose`` to ``parser``; without a default, so that a subcommand's does not undo the one before it."""
    parser.add_argument("--verbose", action="store_true", default=SUPPRESS, help="show the traceback of a failure")


def add_command(commands: Any, name: str, function: Callable[[Namespace], None], examples: str) -> ArgumentParser:
    """A subcommand of a subcommand: its help is its function's docstring and those examples that are of it."""
    lines = [line for line in examples.splitlines()[1:] if line.split()[2] == name]
    command = commands.add_parser(
        name,
        help=function.__doc__,
        description=function.__doc__,
        epilog="\n".join(["examples:", *lines]),
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.set_defaults(command=function)
    add_verbose(command)
    return command


def print_columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print rows of cells one below the other; a row of fewer cells does not widen the columns that it runs into."""
    rows = [[" ".join(cell.split()) for cell in row] for row in rows]
    whole = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(len(row[column]) for row in whole) for column in range(len(rows[0]))]
    widths[0] = max(len(row[0]) for row in rows)
    for row in rows:
        aligns = [">" if column in right and len(row) == len(rows[0]) else "<" for column in range(len(row))]
        cells = (f"{cell:{align}{width}}" for cell, align, width in zip(row, aligns, widths, strict=False))
        print("  ".join(cells).rstrip())


def _one_line(error: Exception) -> str:
    """The message alone for our own errors (it may be a list); the type too for those that nobody foresaw."""
    if isinstance(error, SynthrayError):
        return str(error)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} (--verbose shows where)" if text else type(error).__name__
