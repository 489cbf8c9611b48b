"""Exit codes, one-line errors and columns."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest

from infra.ray_head import REPOSITORY
from synthray.cli.runner import print_columns, run
from synthray.errors import ConfigError, NotFound, Terminated
from tests.names import NAMES


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("a is 3"), 2, "job: a is 3\n"),
        (NotFound("no model"), 1, "job: no model\n"),
        (ZeroDivisionError("by zero"), 1, "job: ZeroDivisionError: by zero (--verbose shows the traceback)\n"),
        (KeyboardInterrupt(), 130, ""),
        (KeyboardInterrupt("stopped after epoch 3"), 130, "job: stopped after epoch 3\n"),
        (SystemExit(signal.SIGTERM), 143, ""),
        (Terminated("stopped after epoch 3"), 143, "job: stopped after epoch 3\n"),
        (None, 0, ""),
    ],
)
def test_run_returns_the_exit_code_of_each_outcome(
    error: BaseException | None, code: int, message: str, capsys: pytest.CaptureFixture
) -> None:
    def command(_: Namespace) -> None:
        if error is not None:
            raise error

    assert run(command, ArgumentParser("job"), []) == code
    assert capsys.readouterr().err == message


def test_run_restores_the_sigterm_handler() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run(lambda _: None, ArgumentParser("job"), []) == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_run_on_sigterm_cleans_up_and_returns_143() -> None:
    script = """
import argparse, sys, time
from synthray.cli.runner import run
def command(_):
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)
sys.exit(run(command, argparse.ArgumentParser("job"), []))
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.read() == "cleaned up\n"
    assert process.returncode == 143


@pytest.mark.parametrize("lines", [1, 100_000])
def test_run_without_a_reader_of_stdout_prints_no_error(lines: int) -> None:
    script = f"""
import argparse, sys
from synthray.cli.runner import run
sys.stdin.read()
sys.exit(run(lambda _: print("line\\n" * {lines}), argparse.ArgumentParser("many"), []))
"""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, **pipes) as process:
        process.stdout.close()
        process.stdin.close()  # the script prints once stdin is closed
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("closed", ["1", "2"])
def test_run_with_a_closed_stream_still_works(closed: str) -> None:
    script = """
import argparse, sys
from synthray.quiet import quiet
from synthray.cli.runner import run
def command(_):
    with quiet():
        print("line", flush=True)
        print("error", file=sys.stderr)
sys.exit(run(command, argparse.ArgumentParser("command"), []))
"""
    command = f'"$0" -c "$1" {closed}>&-'
    ended = subprocess.run(
        ["sh", "-c", command, sys.executable, script], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "" if closed == "1" else "line\n")


@pytest.mark.faults
@pytest.mark.parametrize("lines", [1, 100_000])
def test_run_with_a_full_disk_below_stdout_says_so(lines: int) -> None:
    script = f"""
import argparse, sys
from synthray.cli.runner import run
sys.exit(run(lambda _: print("line\\n" * {lines}), argparse.ArgumentParser("many"), []))
"""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", script], cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == "many: stdout: cannot be written: No space left on device. The output is incomplete.\n"


@pytest.mark.faults
def test_run_with_a_full_disk_elsewhere_does_not_blame_stdout(capfd: pytest.CaptureFixture) -> None:
    def command(_: Namespace) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert run(command, ArgumentParser("job"), []) == 1
    assert capfd.readouterr().err.startswith("job: OSError: [Errno 28] No space left on device")


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_print_columns_prints_any_name_on_one_line(name: str, capsys: pytest.CaptureFixture) -> None:
    print_columns([("name", "size"), (name, "10")])
    _, line = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert line.isprintable()
    assert line.endswith(" 10")


def test_print_columns_aligns_cells_and_ignores_short_rows(capsys: pytest.CaptureFixture) -> None:
    print_columns([("name", "size", "dtype"), ("a", "10", "f4"), ("longest", "corrupt: a wide reason")], right=(1,))
    assert capsys.readouterr().out.splitlines() == [
        "name     size  dtype",
        "a          10  f4",
        "longest  corrupt: a wide reason",
    ]
