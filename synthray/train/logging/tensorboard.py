"""Write the numbers of each epoch as TensorBoard events.

The numbers themselves are defined in ``synthray.train.reports``.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

import tensorflow as tf

from synthray.data.manifest import Manifest
from synthray.storage import open_store
from synthray.train.config import TrainConfig
from synthray.train.reports import EpochReport

_NOT_SCALARS = ("epoch", "epochs")


class EpochLog:
    """A TensorBoard log in ``<out>/logs/<run digest>/``.

    TensorFlow writes to local files only, so the event file is made in a temporary folder and copied after each epoch.
    A resumed training adds a file of its own. TensorBoard reads both as one run.
    """

    def __init__(self, config: TrainConfig, manifest: Manifest, restarts: int = 0) -> None:
        self._restarts = restarts
        self._store = open_store(f"{config.out.rstrip('/')}/logs/{config.run_digest(manifest)}")

    def __enter__(self) -> EpochLog:
        self._folder = tempfile.TemporaryDirectory(prefix="synthray-log-")
        self._writer = tf.summary.create_file_writer(self._folder.name)
        return self

    def __call__(self, report: EpochReport) -> None:
        """Log one epoch. Raises StorageError."""
        scalars = asdict(report) | {"restarts": self._restarts}
        with self._writer.as_default(step=report.epoch):
            for name, value in scalars.items():
                if name not in _NOT_SCALARS:
                    tf.summary.scalar(name, value)
        self._writer.flush()
        for file in Path(self._folder.name).iterdir():
            self._store.write(file.name, file.read_bytes())

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._folder.cleanup()
