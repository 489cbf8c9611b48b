"""The error tree: each class survives pickling, and `summary` finds the cause."""

from __future__ import annotations

import inspect
import pickle

import pytest

from synthray import errors
from synthray.errors import BadBatch, RequestError, SynthrayError, summary

ARGUMENTS = {BadBatch: ("fft/7.npy", "it is empty"), RequestError: (404, "no such model")}
CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, SynthrayError)]


@pytest.mark.parametrize("error_class", CLASSES)
def test_error_pickled_keeps_text_and_fields(error_class: type[SynthrayError]) -> None:
    error = error_class(*ARGUMENTS.get(error_class, ("loss is nan",)))
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is error_class
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_error_tree_in_docstring_names_every_class() -> None:
    assert len(CLASSES) >= 13
    for error_class in CLASSES:
        assert f" {error_class.__name__} " in (errors.__doc__ or "").replace("\n", " ")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("one line", "one line"),
        ("Traceback (most recent call last):\n  File ...\nValueError: cause", "ValueError: cause"),
        (
            "ray::task\nTraceback (most recent call last):\n"
            "synthray.errors.BadBatch: fft/7.npy: it is empty\nthe last line",
            "fft/7.npy: it is empty",
        ),
        ("Graph execution error:\nDetected at node x\nincompatible shapes", "incompatible shapes"),
        ("File a.py, line 1", "File a.py, line 1"),
        (ValueError(), "ValueError"),
        ("", ""),
    ],
)
def test_summary_of_foreign_error_is_its_cause(text: str | BaseException, cause: str) -> None:
    assert summary(text) == cause
