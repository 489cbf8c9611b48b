"""Checkpoint files: readable by plain NumPy, verified, and kept in a bounded number."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from synthray.errors import StorageError
from synthray.train.checkpoint import Checkpoint, CheckpointFolder, TrainProgress

DIGEST = "d" * 16
HISTORY = [{"epoch": 1, "val_loss": 2.5}]


def make_checkpoint(epoch: int = 1) -> Checkpoint:
    progress = TrainProgress(epoch, 7, np.array([3.5, 96.0]), HISTORY)
    return Checkpoint(
        progress, [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(0, np.float32)], [np.int64(5)], {"seed": 3}
    )


def newest_path(folder: CheckpointFolder) -> str | None:
    newest = folder.newest()
    return newest and newest[0]


def contents(checkpoint: Checkpoint) -> tuple:
    """Return everything that a checkpoint holds, comparable."""
    progress = checkpoint.progress
    arrays = [(each.shape, each.dtype.str, each.tobytes()) for each in checkpoint.weights + checkpoint.optimizer]
    header = (progress.epoch, progress.step, progress.sums.tolist(), progress.history, checkpoint.config)
    return header, arrays, len(checkpoint.weights)


def test_checkpoint_round_trip_keeps_everything() -> None:
    assert contents(Checkpoint.decode(make_checkpoint().encode())) == contents(make_checkpoint())


def test_checkpoint_file_opens_in_plain_numpy(tmp_path: Path) -> None:
    with CheckpointFolder(str(tmp_path), DIGEST, keep=1) as folder:
        folder.save(make_checkpoint())
    [path] = tmp_path.rglob("*.npz")
    with np.load(path, allow_pickle=False) as arrays:
        assert set(arrays.files) == {"header", "weights_0000", "weights_0001", "optimizer_0000"}
        assert arrays["weights_0000"].tolist() == [[0, 1, 2], [3, 4, 5]]
        header = json.loads(arrays["header"].item())
    progress = {"epoch": 1, "step": 7, "sums": [3.5, 96.0], "history": HISTORY}
    assert header == progress | {"config": {"seed": 3}, "weights": 2, "optimizer": 1}


def test_decode_of_any_truncated_file_is_an_error() -> None:
    raw = make_checkpoint().encode()
    for length in range(len(raw)):
        with pytest.raises(ValueError, match=r"^[A-Z][A-Za-z]+: "):
            Checkpoint.decode(raw[:length])


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_decode_of_any_flipped_byte_is_an_error_or_harmless(bits: int) -> None:
    raw = make_checkpoint().encode()
    expected = contents(make_checkpoint())
    noticed = 0
    for position in range(len(raw)):
        corrupt = bytearray(raw)
        corrupt[position] ^= bits
        try:
            decoded = contents(Checkpoint.decode(bytes(corrupt)))
        except ValueError:
            noticed += 1
        else:
            assert decoded == expected, position
    assert noticed > len(raw) / 2  # the rest is unused metadata of the archive, such as dates


CORRUPTIONS = {
    "empty": lambda raw: b"",
    "last byte missing": lambda raw: raw[:-1],
    "flipped bytes": lambda raw: raw.replace(b"\x00\x00\x80?", b"\x00\x00\x80@"),  # 1.0 becomes 4.0
    "another archive": lambda raw: another_archive(),
    "old private format": lambda raw: b"synthray-checkpoint/1 0123\n" + raw[:-30],
}


def another_archive() -> bytes:
    archive = io.BytesIO()
    np.savez(archive, header=np.array('{"format": "other"}'))
    return archive.getvalue()


def test_decode_of_an_array_with_a_corrupt_shape_is_an_error() -> None:
    """NumPy reads fewer bytes for a smaller shape, and then does not check the member's CRC-32."""
    raw = Checkpoint(TrainProgress(), [np.ones(9000, np.float32)], []).encode()
    assert raw.count(b"(9000,)") == 1
    with pytest.raises(ValueError, match="weights_0000"):
        Checkpoint.decode(raw.replace(b"(9000,)", b"(1000,)"))


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_corrupt_newest_checkpoint_falls_back_to_the_one_before(corruption: str, tmp_path: Path) -> None:
    logged: list[str] = []
    with CheckpointFolder(str(tmp_path), DIGEST, keep=2, log=logged.append) as folder:
        folder.save(make_checkpoint(1))
        folder.save(make_checkpoint(2))
        folder.wait()
        newest = sorted(tmp_path.rglob("*.npz"))[-1]
        newest.write_bytes(CORRUPTIONS[corruption](newest.read_bytes()))
        assert newest_path(folder) == "000001-00000007.npz"
    [line] = logged
    assert "000002-00000007.npz: corrupt or missing checkpoint" in line
    assert line.endswith("Resuming from another one.")


def test_folder_keeps_the_newest_checkpoints_and_the_best(tmp_path: Path) -> None:
    history: list[dict] = []
    with CheckpointFolder(str(tmp_path), DIGEST, keep=2) as folder:
        for epoch, val_loss in enumerate((5.0, 2.0, 4.0, 3.0, 2.5), 1):
            history.append({"epoch": epoch, "val_loss": val_loss})
            folder.save(Checkpoint(TrainProgress(epoch, history=list(history)), [np.full(2, epoch)], []))
    assert folder.paths() == ["000002-00000000.npz", "000004-00000000.npz", "000005-00000000.npz"]
    newest = folder.newest()
    assert newest is not None
    loaded = newest[1]
    assert (loaded.progress.epoch, loaded.progress.history) == (5, history)
    assert loaded.weights[0].tolist() == [5, 5]
    best = folder.load_best(loaded.progress)
    assert best is not None
    assert best.progress.epoch == 2


@pytest.mark.faults
def test_folder_of_two_trainings_at_once_keeps_what_each_needs(tmp_path: Path) -> None:
    """One is four epochs ahead of the other. At its end, each needs the checkpoint of the best epoch."""
    losses = [5.0, 4.0, 3.0, 3.5, 1.0, 2.0, 2.5, 2.6, 2.7]
    history = [{"epoch": epoch, "val_loss": loss} for epoch, loss in enumerate(losses, 1)]

    def save(folder: CheckpointFolder, epoch: int) -> None:
        folder.save(Checkpoint(TrainProgress(epoch, history=history[:epoch]), [np.full(2, epoch)], []))
        folder.wait()

    with CheckpointFolder(str(tmp_path), DIGEST, 1) as ahead, CheckpointFolder(str(tmp_path), DIGEST, 1) as behind:
        for epoch in range(1, len(losses) + 5):
            if epoch <= len(losses):
                save(ahead, epoch)
            if epoch > 4:
                save(behind, epoch - 4)
            assert ahead.load_best(TrainProgress(history=history[:epoch])) is not None
        best = behind.load_best(TrainProgress(history=history))
    assert best is not None
    assert best.progress.epoch == 5


@pytest.mark.faults
def test_newest_is_found_while_an_equal_training_deletes_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CheckpointFolder(str(tmp_path), DIGEST, 1) as ours, CheckpointFolder(str(tmp_path), DIGEST, 1) as other:
        other.save(Checkpoint(TrainProgress(1), [np.zeros(2)], []))
        other.wait()
        read = ours._store.read

        def read_late(path: str) -> bytes:
            epoch = int(path.split("-")[0])
            if epoch < 4:
                other.save(Checkpoint(TrainProgress(epoch + 1), [np.zeros(2)], []))
                other.wait()
            return read(path)

        monkeypatch.setattr(ours._store, "read", read_late)
        assert newest_path(ours) == "000004-00000000.npz"


def test_folder_keeps_a_checkpoint_older_than_a_corrupt_one(tmp_path: Path) -> None:
    with CheckpointFolder(str(tmp_path), DIGEST, keep=1) as folder:
        folder.save(Checkpoint(TrainProgress(5), [np.zeros(2)], []))
        folder.wait()
        [path] = tmp_path.rglob("*.npz")
        path.write_bytes(b"corrupt")
        folder.save(Checkpoint(TrainProgress(3), [np.zeros(2)], []))
        folder.wait()
        assert newest_path(folder) == "000003-00000000.npz"


def test_checkpoint_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file in the place of a folder")
    with pytest.raises(StorageError, match="checkpoints"), CheckpointFolder(str(tmp_path), DIGEST, keep=2) as folder:
        folder.save(make_checkpoint())
