"""Read and write checkpoints: NumPy ``.npz`` archives that hold the whole state of a training.

``synthray.train.loop`` decides when to write one, and ``synthray.train.step`` what it holds.
"""

from __future__ import annotations

import io
import json
import logging
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from synthray.errors import NotFound, Stopped
from synthray.storage import open_store

logger = logging.getLogger(__name__)

_NAME = re.compile(r"\d{6,}-\d{8,}\.npz", re.ASCII)
_HEADER = "header"
# zipfile and NumPy raise each of these for some corrupt byte. RuntimeError is "encrypted" or an unknown method.
_CORRUPT = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, KeyError, TypeError, EOFError, RuntimeError)


@dataclass(frozen=True)
class TrainProgress:
    """The position of a training in its epochs, and the results so far."""

    epoch: int = 0
    """Epochs that are done, which is also the index of the next one."""
    step: int = 0
    """Steps of the next epoch that are done."""
    sums: np.ndarray = field(default_factory=lambda: np.zeros(2))
    """float64 ``(2,)``: sum of the losses of the unfinished epoch, and the number of its examples so far."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """Reports of the epochs that are done."""

    @property
    def best(self) -> int | None:
        """The epoch, from 1, with the lowest validation loss; None before the first one ends."""
        return min(self.history, key=lambda report: report["val_loss"])["epoch"] if self.history else None


@dataclass(frozen=True)
class Checkpoint:
    """The state between two steps."""

    progress: TrainProgress
    weights: list[np.ndarray]
    """The model's weights, in the order of its variables."""
    optimizer: list[np.ndarray]
    """The optimizer's variables in their order; moving averages of the weights are among them."""
    config: dict[str, Any] = field(default_factory=dict)
    """Settings of the training, for the reader of the file."""

    def encode(self) -> bytes:
        """Return the state as an ``.npz`` archive, in which ``header`` is JSON text."""
        header = asdict(self.progress) | {
            "sums": self.progress.sums.tolist(),
            "config": self.config,
            "weights": len(self.weights),
            "optimizer": len(self.optimizer),
        }
        arrays: dict[str, Any] = {_HEADER: np.array(json.dumps(header))}
        arrays |= {_member("weights", i): weight for i, weight in enumerate(self.weights)}
        arrays |= {_member("optimizer", i): variable for i, variable in enumerate(self.optimizer)}
        archive = io.BytesIO()
        np.savez(archive, **arrays)
        return archive.getvalue()

    @classmethod
    def decode(cls, raw: bytes) -> Checkpoint:
        """Return the checkpoint that ``encode`` wrote. Raises ValueError if it is corrupt."""
        try:
            # np.load checks a CRC-32 only at the end of a member, and a corrupt shape makes it stop before that.
            with zipfile.ZipFile(io.BytesIO(raw)) as archive:
                if corrupt := archive.testzip():
                    raise ValueError(f"member {corrupt} does not match its CRC-32")
            with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
                header = json.loads(arrays[_HEADER].item())
                config = header.pop("config")
                # Read by count, because a corrupt directory can hide members.
                weights = [arrays[_member("weights", i)] for i in range(header.pop("weights"))]
                optimizer = [arrays[_member("optimizer", i)] for i in range(header.pop("optimizer"))]
            return cls(TrainProgress(**header | {"sums": np.array(header["sums"])}), weights, optimizer, config)
        except _CORRUPT as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


class CheckpointFolder:
    """The checkpoints of one training in ``<out>/checkpoints/<digest>/``.

    It keeps the newest ones and that of the best epoch. A thread writes them one at a time while the training
    continues. Leaving the ``with`` block waits for the last write.
    """

    def __init__(self, out: str, run_digest: str, keep: int, log: Callable[[str], None] = logger.warning) -> None:
        self._root = open_store(f"{out.rstrip('/')}/checkpoints")
        self._store = open_store(f"{self._root.uri}/{run_digest}")
        self._keep, self._log = keep, log
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def __enter__(self) -> CheckpointFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._writer.shutdown()
        # A failed write must not replace an earlier error. But a stop promises a checkpoint, so it reports a failed
        # write.
        if kind is None or issubclass(kind, Stopped):
            self.wait()

    def save(self, checkpoint: Checkpoint) -> None:
        """Start to write a checkpoint, and to delete the oldest ones after it.

        Raises:
            StorageError: the previous checkpoint could not be written.
        """
        self.wait()
        self._pending = self._writer.submit(self._save, checkpoint)

    def wait(self) -> None:
        """Return once all checkpoints are written. Raises StorageError."""
        pending, self._pending = self._pending, None
        if pending:
            pending.result()

    def _save(self, checkpoint: Checkpoint) -> None:
        progress = checkpoint.progress
        written = _path(progress.epoch, progress.step)
        self._store.write(written, checkpoint.encode(), durable=True)
        # Newer checkpoints stay: they are corrupt and were skipped, or another job of the same training writes them
        # now.
        done = [path for path in self.paths() if path <= written]
        for path in done[: -self._keep]:
            if path != _path(progress.best or 0, 0):
                self._store.delete(path)

    @property
    def uri(self) -> str:
        """Return the URI of the folder."""
        return self._store.uri

    def paths(self) -> list[str]:
        """Return the paths of all checkpoints, oldest first."""
        return [entry.path for entry in self._store.list() if _NAME.fullmatch(entry.path)]

    def newest(self) -> tuple[str, Checkpoint] | None:
        """Return path and content of the newest checkpoint that can be read, or None; log why newer ones cannot."""
        seen: list[str] = []
        # Try again if one is gone: another job of the same training deletes a checkpoint only after it wrote a newer
        # one.
        while (paths := self.paths()) != seen:
            for path in reversed(paths):
                if checkpoint := self.load(path, "Resuming from another one."):
                    return path, checkpoint
            seen = paths
        return None

    def load_best(self, progress: TrainProgress) -> Checkpoint | None:
        """Return the checkpoint of the best epoch so far; log the reason and return None if it cannot be read."""
        return self.load(_path(progress.best or 0, 0), "Saving the last epoch's weights instead.")

    def load(self, path: str, consequence: str) -> Checkpoint | None:
        """Return one checkpoint; log the reason and ``consequence`` and return None if it cannot be read."""
        try:
            return Checkpoint.decode(self._store.read(path))
        except (ValueError, NotFound) as error:
            self._log(f"{self._store.uri}/{path}: corrupt or missing checkpoint ({error}). {consequence}")
            return None

    def log_others(self) -> None:
        """Log how many trainings with other settings have checkpoints in the same ``out``, if any."""
        if others := len(self._root.folders()):
            self._log(
                f"no checkpoint of these settings in {self._root.uri}; found checkpoints of other settings: {others}"
            )


def _member(kind: str, index: int) -> str:
    return f"{kind}_{index:04d}"


def _path(epoch: int, step: int) -> str:
    return f"{epoch:06d}-{step:08d}.npz"
