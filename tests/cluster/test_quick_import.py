"""The quicker import of TensorFlow, with a small module of Python in the place of scikit-learn."""

from __future__ import annotations

import gc
import sys
from importlib import import_module

import pytest

from synthray.cluster import quick_import
from synthray.cluster.quick_import import quick_import as importing_quickly

UNUSED = "colorsys"


@pytest.fixture(autouse=True)
def unused_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_import, "_UNUSED", UNUSED)
    monkeypatch.delitem(sys.modules, UNUSED, raising=False)


def test_quick_import_hides_the_unused_module_within_the_block_only() -> None:
    with importing_quickly(), pytest.raises(ImportError, match=UNUSED):
        import_module(UNUSED)
    assert import_module(UNUSED).rgb_to_hsv


def test_quick_import_keeps_a_module_that_is_imported_already() -> None:
    imported = import_module(UNUSED)
    with importing_quickly():
        assert import_module(UNUSED) is imported
    assert import_module(UNUSED) is imported


@pytest.mark.parametrize("collects", [True, False])
def test_quick_import_stops_the_garbage_collector_and_leaves_it_as_it_was(collects: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        with importing_quickly():
            assert not gc.isenabled()
        assert gc.isenabled() == collects
    finally:
        (gc.enable if before else gc.disable)()


def test_quick_import_of_a_broken_module_restores_the_process() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), importing_quickly():
        import_module("no_such_module")
    assert gc.isenabled()
    assert import_module(UNUSED)
