"""Memory is given again when nothing refers to it any more, and never before."""

from __future__ import annotations

import gc
import os
import resource
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from synthray.storage.memory import ALIGNMENT, Memory

SHAPE = (4, 20, 551)


def test_what_nobody_holds_is_given_again() -> None:
    memory = Memory()
    first = memory.empty(SHAPE, "float32")
    place = first.ctypes.data
    assert first.shape == SHAPE
    assert first.dtype == np.float32
    assert first.flags.writeable
    assert first.flags.c_contiguous
    del first
    assert memory.empty(SHAPE, "float32").ctypes.data == place


def test_any_view_of_it_holds_it() -> None:
    memory = Memory()
    first = memory.empty(SHAPE, "float32")
    views = [first[1:], first.reshape(-1)[5:9], first[0, 3].view(np.uint32), first.T, memoryview(first)]
    place = first.ctypes.data
    del first
    while views:
        gc.collect()
        assert memory.empty(SHAPE, "float32").ctypes.data != place
        views.pop()
    # one of them was given to the arrays in between; both are free now
    places = [memory.empty(SHAPE, "float32"), memory.empty(SHAPE, "float32")]
    assert place in [array.ctypes.data for array in places]


@given(st.lists(st.tuples(st.sampled_from([(0, 3), (2, 3), (6,), (5, 7)]), st.booleans()), max_size=30))
def test_arrays_never_share(uses: list[tuple[tuple[int, ...], bool]]) -> None:
    memory = Memory()
    held: list[tuple[int, np.ndarray]] = []
    for number, (shape, keep) in enumerate(uses):
        array = memory.empty(shape, "float16")
        assert array.ctypes.data % ALIGNMENT == 0
        array[...] = number
        if keep:
            held.append((number, array[..., 1:]))
    for number, array in held:
        assert (array == number).all()


def test_a_tensor_on_it_holds_it() -> None:
    import tensorflow as tf

    memory = Memory()
    array = memory.empty(SHAPE, "float32")
    array[...] = 7
    place = array.ctypes.data
    tensor = tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    product = tensor * 2
    del array
    gc.collect()
    other = memory.empty(SHAPE, "float32")
    other[...] = 9
    assert other.ctypes.data != place
    assert (tensor.numpy() == 7).all()
    assert (product.numpy() == 14).all()
    del tensor
    gc.collect()
    assert memory.empty(SHAPE, "float32").ctypes.data == place


def test_a_forked_process_has_its_own() -> None:
    memory = Memory()
    memory.empty(SHAPE, "float32")[...] = 1  # free again, and known to both
    reader, writer = os.pipe()
    if not (child := os.fork()):
        os.read(reader, 1)
        memory.empty(SHAPE, "float32")[...] = 2
        os._exit(0)
    array = memory.empty(SHAPE, "float32")
    array[...] = 3
    os.write(writer, b"!")
    assert os.waitpid(child, 0)[1] == 0
    assert (array == 3).all()
    for end in (reader, writer):
        os.close(end)


def test_of_much_that_is_free_little_is_kept() -> None:
    memory = Memory()
    before = resident_bytes()
    held = [memory.empty((size << 20,), "uint8") for size in range(10, 40)]
    for array in held:
        array[...] = 1
    assert resident_bytes() - before > 700 << 20
    del held, array
    gc.collect()
    assert 30 << 20 < resident_bytes() - before < 140 << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
