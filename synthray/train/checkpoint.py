"""Checkpoints: everything that a training needs to go on, one object each, written whole or not at all.

The object is a NumPy ``.npz`` archive without pickles, behind a line with its own digest: what is damaged is noticed,
told, and passed over for the one before it.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from synthray.errors import NotFound
from synthray.storage import open_store

logger = logging.getLogger(__name__)

_FORMAT = b"synthray-checkpoint/1 "


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    epoch, step: where to go on. sums: float64 ``(2,)``, of the epoch under way: the losses of its examples so far, and
    how many they are. history: the reports of the epochs that are done.
    """

    epoch: int = 0
    step: int = 0
    sums: np.ndarray = field(default_factory=lambda: np.zeros(2))
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def best(self) -> int | None:
        """The epoch, from 1, after which the validation loss was the lowest."""
        return min(self.history, key=lambda report: report["val_loss"])["epoch"] if self.history else None


@dataclass(frozen=True)
class Checkpoint:
    """The state between two steps: weights and optimizer as arrays, in the order of their variables.

    Averages of weights are among the optimizer's. config: that of the training, which its random numbers depend on.
    """

    progress: Progress
    weights: list[np.ndarray]
    optimizer: list[np.ndarray]
    config: dict[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """One line with format and SHA-256, then the archive."""
        header = json.dumps(asdict(self.progress) | {"sums": self.progress.sums.tolist(), "config": self.config})
        arrays = {f"weights_{i:04d}": w for i, w in enumerate(self.weights)}
        arrays |= {f"optimizer_{i:04d}": v for i, v in enumerate(self.optimizer)}
        body = io.BytesIO()
        np.savez(body, header=np.frombuffer(header.encode(), np.uint8), **arrays)
        digest = hashlib.sha256(body.getbuffer()).hexdigest().encode()
        return b"".join([_FORMAT, digest, b"\n", body.getbuffer()])

    @classmethod
    def decode(cls, raw: bytes) -> Checkpoint:
        """The inverse of ``encode``; raises ValueError when it is damaged."""
        head, _, body = raw.partition(b"\n")
        if head != _FORMAT + hashlib.sha256(body).hexdigest().encode():
            raise ValueError("its digest does not match: it is damaged, or of another format")
        with np.load(io.BytesIO(body), allow_pickle=False) as archive:
            header = json.loads(archive["header"].tobytes())
            config = header.pop("config")
            weights = [archive[name] for name in archive.files if name.startswith("weights_")]
            optimizer = [archive[name] for name in archive.files if name.startswith("optimizer_")]
        return cls(Progress(**header | {"sums": np.array(header["sums"])}), weights, optimizer, config)


class CheckpointFolder:
    """The checkpoints of one training, below ``<out>/checkpoints/<digest>/``: the newest ones, and the best epoch's.

    They are written in a thread, one after the other, while the training goes on. ``with`` waits for the last of them.
    """

    def __init__(self, out: str, run_digest: str, keep: int, tell: Callable[[str], None] = logger.warning) -> None:
        self._store = open_store(f"{out.rstrip('/')}/checkpoints/{run_digest}")
        self._keep, self._tell = keep, tell
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._written: Future[None] | None = None

    def __enter__(self) -> CheckpointFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # after an error, too, what was begun is ended; what comes of it matters only where there was none
        self._writer.shutdown()
        if kind is None:
            self.wait()

    def save(self, checkpoint: Checkpoint) -> None:
        """Begin to write one, and then let go of the oldest, once the one before it is written.

        Raises:
            StorageError: the one before it could not be written.
        """
        self.wait()
        self._written = self._writer.submit(self._save, checkpoint)

    def wait(self) -> None:
        """Until all are written; raises StorageError."""
        written, self._written = self._written, None
        if written:
            written.result()

    def _save(self, checkpoint: Checkpoint) -> None:
        progress = checkpoint.progress
        written = _path(progress.epoch, progress.step)
        self._store.write(written, checkpoint.encode())
        # the one just written, too: damaged ones that were passed over may stand after it
        kept = [*self.paths()[-self._keep :], written, _path(progress.best or 0, 0)]
        for path in self.paths():
            if path not in kept:
                self._store.delete(path)

    def paths(self) -> list[str]:
        """All of them, oldest first."""
        return [entry.path for entry in self._store.list() if entry.path.endswith(".ckpt")]

    def latest_valid(self) -> str | None:
        """The newest that can be read; a damaged one is told of and passed over. None where there is none."""
        instead = "going back to the one before it"
        return next((path for path in reversed(self.paths()) if self._whole(path, instead)), None)

    def load_best(self, progress: Progress) -> Checkpoint | None:
        """The one of the best epoch so far; None, which is told, where it cannot be read."""
        return self._whole(_path(progress.best or 0, 0), "the last epoch's weights are saved instead of the best's")

    def _whole(self, path: str, instead: str) -> Checkpoint | None:
        try:
            return self.load(path)
        except (ValueError, KeyError, NotFound) as error:
            self._tell(f"{self._store.uri}/{path} cannot be used ({error}); {instead}")
            return None

    def load(self, path: str) -> Checkpoint:
        """One of them; raises ValueError when it is damaged."""
        return Checkpoint.decode(self._store.read(path))


def _path(epoch: int, step: int) -> str:
    return f"{epoch:06d}-{step:08d}.ckpt"
