"""The error tree: each class survives pickling, and `summary` finds the cause."""

from __future__ import annotations

import inspect
import pickle

import pytest

from synthray import errors
from synthray.errors import LONGEST_TEXT, BadBatch, RequestError, SynthrayError, shown, summary

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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "'x'"),
        (None, "null"),
        ([True, 1.5, {"a": False}], "[true, 1.5, {'a': false}]"),
        (2**127, str(2**127)),
        ([-(10**5000)], "[an integer of 16610 bits]"),
        ([[[[1]]]], "[[[...]]]"),
        ("ab" * 999, "'ababababababababa...ababababababababab'"),
        ({str(key): ["x" * 99] * 9 for key in range(9)}, None),
    ],
)
def test_shown_value_is_short_text(value: object, text: str | None) -> None:
    assert len(shown(value)) <= LONGEST_TEXT
    assert text is None or shown(value) == text
