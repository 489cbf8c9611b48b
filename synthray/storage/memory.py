"""Memory for files and batches that is used again and again.

Pages fresh from the kernel cost: gathering to them takes 1.2 to 1.7 times, reading a file to them 2 to 3 times.
"""

from __future__ import annotations

import math
import mmap
import weakref
from contextlib import suppress

import numpy as np

# What differs by less than this shares: files of a data set, which may be of nearly one size.
_STEP_BYTES = 1024 * 1024
# Of what is free, so much is kept, the newest, and so many in any case.
_KEPT_BYTES, _KEPT_LEAST = 64 * 1024 * 1024, 4
ALIGNMENT = 64
"""Bytes, of which an array begins at a multiple: what TensorFlow asks of memory that it is to use as it is."""


class Memory:
    """Gives arrays, and gives the memory of one again when nothing refers to it any more.

    >>> memory = Memory()
    >>> first = memory.empty((512, 20, 551), "float32")
    >>> place = first.ctypes.data
    >>> del first
    >>> memory.empty((512, 20, 551), "float32").ctypes.data == place
    True
    """

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []

    def empty(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """An array of any content, aligned to ``ALIGNMENT``: it begins with a page of memory."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        pages = self._pages((size // _STEP_BYTES + 1) * _STEP_BYTES)
        # Every view of an array on foreign memory refers to the first one of them, and so does a tensor on one.
        first = np.frombuffer(pages, np.uint8)
        weakref.finalize(first, self._give_back, pages).atexit = False
        return first[:size].view(dtype).reshape(shape)

    # Without a lock: memory is given back at any moment, also within these lines, by this thread or another. What is
    # done to the list is done in single steps of Python's.

    def _pages(self, size: int) -> mmap.mmap:
        for pages in self._free[::-1]:
            if len(pages) == size:
                with suppress(ValueError):  # another thread was quicker
                    self._free.remove(pages)
                    return pages
        # private: a process that is forked has its own from then on, of what is free, too
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def _give_back(self, pages: mmap.mmap) -> None:
        self._free.append(pages)
        while len(self._free) > _KEPT_LEAST and sum(map(len, self._free[:])) > _KEPT_BYTES:
            with suppress(IndexError):
                self._free.pop(0)
