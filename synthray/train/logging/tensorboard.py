"""Write the numbers of each epoch as TensorBoard events.

The numbers themselves are defined in ``synthray.train.reports``.
"""

from __future__ import annotations

import time
from dataclasses import asdict

import tensorflow as tf

from synthray.data.manifest import Manifest
from synthray.errors import summary
from synthray.storage import open_store
from synthray.storage.scratch import scratch_folder, scratch_full
from synthray.train.config import TrainConfig
from synthray.train.reports import POSITION, EpochReport


class EpochLog:
    """A TensorBoard log in ``<out>/logs/<run digest>/``.

    Each epoch is a file of its own, made in a temporary folder because TensorFlow writes to local files only.
    TensorBoard reads the files of a folder in the order of their names, as one run. It does not see that a file was
    replaced.
    """

    def __init__(self, config: TrainConfig, manifest: Manifest, restarts: int = 0) -> None:
        self._restarts, self._start_s = restarts, int(time.time())
        self._store = open_store(f"{config.out.rstrip('/')}/logs/{config.run_digest(manifest)}")

    def __call__(self, report: EpochReport) -> None:
        """Log one epoch. Raises StorageError."""
        scalars = asdict(report) | {"restarts": self._restarts}
        with scratch_folder("log") as folder:
            try:
                writer = tf.summary.create_file_writer(str(folder))
                with writer.as_default(step=report.epoch):
                    for name, value in scalars.items():
                        if name not in POSITION:
                            tf.summary.scalar(name, value)
                writer.close()
            except tf.errors.OpError as error:
                raise scratch_full(summary(error)) from error
            [file] = folder.iterdir()
            # TensorBoard skips a file whose name does not sort after the last one's. All start times have equally many
            # digits.
            self._store.write(f"events.out.tfevents.{self._start_s}.{report.epoch:06}", file.read_bytes())
