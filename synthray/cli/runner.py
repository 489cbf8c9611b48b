"""Exit codes, one-line errors and ``--verbose`` of every command. The commands are in the other modules.

Exit codes: 0 the result exists, 1 a failure, 2 wrong usage, 130 interrupted (SIGINT), 143 terminated (SIGTERM).
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import traceback
from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from textwrap import indent
from typing import Any

from synthray.errors import ConfigError, SynthrayError, Terminated
from synthray.storage.scratch import DISK_FULL
from synthray.text_tables import align

FAILED, WRONG_USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143
PARSER_OPTIONS: dict[str, Any] = {"formatter_class": RawDescriptionHelpFormatter, "allow_abbrev": False}
Command = Callable[[Namespace], None]


def run(command: Command, parser: ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Parse ``argv``, call ``command`` and return the exit code.

    Without ``argv`` it parses ``sys.argv``. argparse itself exits for ``--help`` (0) and for a wrong flag (2).
    """
    _open_closed_streams()
    add_verbose(parser)
    parser.set_defaults(verbose=False)
    arguments = parser.parse_args(argv)
    try:
        with _sigterm_exits():
            command(arguments)
        sys.stdout.flush()
    except BrokenPipeError as error:
        if not _stdout_has_no_reader():
            return _failed(parser, arguments, error)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout once more at exit
        return FAILED
    except KeyboardInterrupt as interrupt:
        if str(interrupt):
            print(f"{parser.prog}: {interrupt}", file=sys.stderr)
        return TERMINATED if isinstance(interrupt, Terminated) else INTERRUPTED
    except SystemExit as exit_request:
        if exit_request.code != signal.SIGTERM:
            raise
        return TERMINATED
    except Exception as error:
        return _failed(parser, arguments, error)
    return 0


def _open_closed_streams() -> None:
    """Discard what is written to stdout or stderr if the shell has closed it (``2>&-``): Python then has no stream."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115


@contextmanager
def _sigterm_exits() -> Iterator[None]:
    """Raise ``SystemExit(SIGTERM)`` on SIGTERM, so that ``finally`` blocks run.

    ``ray.init`` replaces this handler by one that does the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _failed(parser: ArgumentParser, arguments: Namespace, error: Exception) -> int:
    if arguments.verbose:
        traceback.print_exc()
    print(f"{parser.prog}: {_one_line(error)}", file=sys.stderr)
    return WRONG_USAGE if isinstance(error, ConfigError) else FAILED


def _one_line(error: Exception) -> str:
    """Return the message of an error, with its type unless it is a SynthrayError.

    A SynthrayError's message can have several lines, such as a list of bad batches.
    """
    if isinstance(error, SynthrayError):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK_FULL and not error.filename and _stdout_is_full():
        return f"stdout: cannot be written: {error.strerror}. The output is incomplete."
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} (--verbose shows the traceback)" if text else type(error).__name__


def _stdout_has_no_reader() -> bool:
    """Return whether the reader of stdout has closed the pipe, as ``| head`` does."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)  # poll reports a hang-up without being asked to
    return bool(output.poll(0))


def _stdout_is_full() -> bool:
    try:
        os.write(sys.stdout.fileno(), b"\n")  # the error itself does not say which file it is about
    except OSError:
        return True
    return False


def add_verbose(parser: ArgumentParser) -> None:
    """Add ``--verbose``, without a default.

    With a default, a subcommand would reset the flag that was given before it.
    """
    parser.add_argument("--verbose", action="store_true", default=SUPPRESS, help="show the traceback of a failure")


def set_up(parser: ArgumentParser, command: Command, description: str, examples: str) -> None:
    """Give a command's parser its function, its description and its examples."""
    parser.description, parser.epilog = description, f"examples:\n{indent(examples.strip(), '  ')}"
    parser.set_defaults(command=command)
    add_verbose(parser)


def set_up_group(parser: ArgumentParser, description: str, examples: str) -> Any:
    """Describe a group of commands and return its subparsers."""
    parser.description, parser.epilog = description, f"examples:\n{indent(examples.strip(), '  ')}"
    return parser.add_subparsers(title="commands", required=True, metavar="COMMAND")


def add_to_group(group: Any, name: str, command: Command, examples: str) -> ArgumentParser:
    """Add a command to a group, with its docstring as help.

    Only the ``examples`` that contain the command's name are shown.
    """
    parser: ArgumentParser = group.add_parser(name, help=command.__doc__, **PARSER_OPTIONS)
    own = [line for line in examples.strip().splitlines() if line.split()[2] == name]
    set_up(parser, command, command.__doc__ or "", "\n".join(own))
    return parser


def print_columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print rows as aligned columns, each on one line; see ``align``."""
    print(*align([[" ".join(cell.split()) for cell in row] for row in rows], right), sep="\n")
