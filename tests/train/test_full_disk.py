"""A full disk at each file that a training writes: one line names it, and the same training continues."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from synthray.data.dataset import Dataset
from synthray.errors import StorageError
from synthray.model.saved import load_model
from synthray.train.config import already_trained
from synthray.train.export import export_model
from synthray.train.logging.tensorboard import EpochLog
from synthray.train.reports import EpochReport
from tests.full_disk import FullDisk
from tests.train.training import make_config, train

pytestmark = pytest.mark.faults

FILES = {1: r"checkpoints/\w+/000001-00000000\.npz", 3: r"model_\d+_2\.keras", 4: r"model_\d+_2\.json"}


@pytest.mark.slow
@pytest.mark.parametrize("write", FILES)
def test_training_with_a_full_disk_continues_when_there_is_room(
    write: int, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_and_save(out: Path) -> list[np.ndarray]:
        config = make_config(dataset, out, epochs=2)
        uri = export_model(config, dataset, train(config, dataset))
        assert already_trained(config, dataset.manifest) == uri
        return load_model(uri)[0].get_weights()

    undisturbed = train_and_save(tmp_path / "undisturbed")
    disk = FullDisk(monkeypatch)
    disk.full_at = write
    out = tmp_path / "out"
    with pytest.raises(
        StorageError, match=rf"^{out}/{FILES[write]} cannot be written: .* run the same command again\.$"
    ):
        train_and_save(out)
    assert not already_trained(make_config(dataset, out, epochs=2), dataset.manifest)
    disk.full_at = 0
    for one, other in zip(train_and_save(out), undisturbed, strict=True):
        np.testing.assert_array_equal(one, other)


def test_tensorboard_names_the_temporary_folder_whose_disk_is_full(dataset: Dataset, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = EpochLog(make_config(dataset, tmp_path), dataset.manifest)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"temporary files cannot be written: .*File too large.*set TMPDIR"):
            log(EpochReport(1, 2, 3.0, 2.0, 0.5, 0.25, 1000.0, 0.1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
