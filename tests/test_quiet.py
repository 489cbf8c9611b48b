"""Native code without its log lines."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from synthray.quiet import quiet


def test_quiet_discards_native_lines_only_within_the_block(capfd: pytest.CaptureFixture) -> None:
    with suppress(ValueError), quiet():
        os.write(2, b"discarded")
        raise ValueError
    os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"


def test_quiet_blocks_that_overlap_in_threads_end_with_the_last_one(capfd: pytest.CaptureFixture) -> None:
    first, second = ExitStack(), ExitStack()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        one.submit(first.enter_context, quiet()).result()
        other.submit(second.enter_context, quiet()).result()
        one.submit(first.close).result()
        os.write(2, b"discarded")
        other.submit(second.close).result()
    os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"
