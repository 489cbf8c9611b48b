"""Fixtures of the training tests."""

from __future__ import annotations

import pytest

from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from tests import foreign
from tests.conftest import convert_here


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A small data set of 203 examples that a foreign program made."""
    folder = tmp_path_factory.mktemp("train")
    convert_here(foreign.write(folder / "training_data"), folder / "data")
    return open_dataset(str(folder / "data"))
