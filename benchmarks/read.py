"""Measure how many examples per second synthray and other loaders read into NumPy arrays.

    python benchmarks/read.py
    python benchmarks/read.py --batches 2048 --without-s3
    python benchmarks/read.py --peers mosaicml,grain      # if installed; leaves out the rows that need TensorFlow

The loaders take turns. Each reads three epochs of the same sounds, in batches of 512. The page cache is warm.

- bare PyArrow: all shards one after another, with page checksums, but without an order and without batches. Another row
  reads one shard on each core.
- the notebook's DataLoader: the notebook's files, in its batches of 32.
- tf.data: the shards, which PyArrow reads in parallel. Ray Data: its ``read_parquet``.
- synthray: the shards in its own order, with the SHA-256 of each one. They are streamed or cached in shared memory, in
  float32 or float16, from disk or S3. Presets and ``synth://`` are rendered while they are read.
"""

from __future__ import annotations

import argparse
import itertools
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import ray
import ray.data
from pyarrow import fs

sys.path.insert(0, str(Path(__file__).parents[1]))  # for infra, which is not installed
from infra.s3_server import running_s3_server
from synthray.cluster import build, loader
from synthray.cluster.connect import connect
from synthray.data.build.generate_config import GenerateConfig
from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.data.order import EpochOrder
from synthray.data.parquet import FEATURES_COLUMN
from synthray.storage import open_store
from synthray.synth.voice import usable_cores

BATCH_SIZE = 512
EPOCHS = 3
COMPARED = ("pyarrow", "notebook", "fit")


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="synthray-read-") as folder, ExitStack() as stack:
        bucket = None
        if not arguments.without_s3:
            # Before Ray, whose workers inherit the environment variables of the store.
            server = stack.enter_context(running_s3_server(f"{folder}/s3"))
            os.environ.update(server.environment)
            bucket = f"s3://{server.bucket}"
        connect()
        uris = _data_sets(Path(folder), bucket, arguments.batches)
        stored, rows = open_dataset(uris["stored"]), arguments.batches * 32
        print(f"\n{rows:,} sounds, {stored.manifest.bytes / 1e6:,.0f} MB in {len(stored.manifest.shards)} shards")
        print(f"{'':44} {'examples/s':>10} {'PyArrow':>8} {'notebook':>9} {'in fit':>7} {'first batch':>12}")
        table = Table()
        _measure_others(table, stored, Path(folder), [peer for peer in arguments.peers.split(",") if peer])
        _measure_synthray(table, uris)
    _print_shuffling(stored.shard_rows)


def _measure_others(table: Table, stored: Dataset, folder: Path, peers: list[str]) -> None:
    batches = folder / "batches"
    table.add("bare PyArrow, all columns, one after another", lambda: _pyarrow(stored), "pyarrow")
    cores = usable_cores()
    table.add(f"PyArrow, {cores} shards at once", lambda: _pyarrow(stored, cores))
    table.add("the notebook's DataLoader", lambda: _notebook(batches), "notebook")
    if not peers:  # TensorFlow and torch cannot be loaded into one process
        table.add("the notebook's DataLoader, as fit gets it", lambda: _notebook_in_fit(batches), "fit")
        table.add("tf.data over the shards", lambda: _tf_data(stored))
    table.add("Ray Data read_parquet", lambda: _read_parquet(stored))
    for peer in peers:
        table.add(peer, PEERS[peer](stored, folder))


def _measure_synthray(table: Table, uris: dict[str, str]) -> None:
    for name in ("stored", "float16", "presets", "synth://", "synth://, fresh each epoch"):
        table.add(f"synthray, {name}, streaming", lambda uri=uris[name]: _streamed(open_dataset(uri)), epochs=1)
    for name in ("stored", "float16"):
        data = open_dataset(uris[name])
        reader = loader.CachedReader(loader.cache_dataset(data).wait(), data)
        table.add(f"synthray, {name}, shared memory", lambda reader=reader, data=data: _cached(reader, data), epochs=1)
    if "S3" in uris:
        on_s3 = open_dataset(uris["S3"])
        table.add("bare PyArrow, from S3", lambda: _pyarrow(on_s3), "pyarrow")
        table.add("synthray, stored in S3, streaming", lambda: _streamed(on_s3), epochs=1)


class Table:
    """A table of examples per second, printed row by row with the ratios to three baselines."""

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}

    def add(self, name: str, loader: Callable[[], Iterator[int]], as_baseline: str = "", epochs: int = EPOCHS) -> None:
        """Measure a loader that yields the size of each batch, and print the better of two rounds.

        epochs: how often a round starts the loader; 1 for synthray's loaders, which yield all epochs by themselves.
        """
        rate, first_s = 0.0, np.inf
        for _ in range(2):
            began_s = time.perf_counter()
            examples, batches = 0, itertools.chain.from_iterable(loader() for _ in range(epochs))
            for count in batches:
                if not examples:
                    first_s = min(first_s, time.perf_counter() - began_s)
                examples += count
            rate = max(rate, examples / (time.perf_counter() - began_s))
        self.rates[as_baseline or name] = rate
        ratios = [f"{rate / self.rates[other]:.2f}" if other in self.rates else "" for other in COMPARED]
        print(f"{name:44} {rate:10,.0f} {ratios[0]:>8} {ratios[1]:>9} {ratios[2]:>7} {first_s:10.2f} s", flush=True)


def _data_sets(folder: Path, bucket: str | None, batches: int) -> dict[str, str]:
    """Write the same sounds as notebook files and as a data set of each kind, and return their URIs."""
    build.generate(GenerateConfig(str(folder / "batches"), batches))
    kinds: dict[str, dict[str, str]] = {
        "stored": {},
        "float16": {"dtype": "float16"},
        "presets": {"content": "presets"},
    }
    uris = {}
    for name, options in kinds.items():
        config = GenerateConfig(str(folder / name), batches, format="parquet", **options)
        build.build(config.source(), config.build, name)
        uris[name] = config.out
    if bucket:
        here, there = open_store(uris["stored"]), open_store(f"{bucket}/stored")
        for entry in here.list():
            there.write(entry.path, here.read(entry.path))
        uris["S3"] = there.uri
    uris["synth://"] = f"synth://?seed=0&batches={batches}"
    uris["synth://, fresh each epoch"] = f"{uris['synth://']}&fresh=1"
    return uris


def _pyarrow(dataset: Dataset, threads: int = 1) -> Iterator[int]:
    size = int(np.prod(dataset.manifest.feature_shape))
    files, root = None, dataset.uri
    if root.startswith("s3://"):
        endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
        files, root = fs.S3FileSystem(endpoint_override=endpoint, scheme="http"), root.removeprefix("s3://")

    def read(path: str) -> int:
        table = pq.read_table(f"{root}/{path}", filesystem=files, page_checksum_verification=True)
        for chunk in table[FEATURES_COLUMN].chunks:
            np.frombuffer(chunk.buffers()[1], np.float32).reshape(-1, size)
        return len(table)

    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(read, [shard.path for shard in dataset.manifest.shards])


def _notebook(folder: Path) -> Iterator[int]:
    """Yield the batch sizes of the notebook's DataLoader."""
    for number in range(_batches(folder)):
        yield len(_notebook_batch(folder, number)[0])


def _batches(folder: Path) -> int:
    return sum(1 for _ in (folder / "fft").iterdir())


def _notebook_batch(folder: Path, number: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    features = np.load(folder / f"fft/fft_batch_{number}.npy")
    columns = pickle.loads((folder / f"parameters/parameter_batches_{number}.pkl").read_bytes())
    return features, {f"out_{i}": column for i, column in enumerate(columns) if not isinstance(column, str)}


def _notebook_in_fit(folder: Path) -> Iterator[int]:
    """Yield the same batches as ``fit`` gets them: through Keras's adapter, as tensors."""
    from synthray.quiet import quiet

    with quiet():
        from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter
        from notebook_training import DataLoader

    loader = DataLoader(folder, range(_batches(folder)))
    for features, _ in PyDatasetAdapter(loader, shuffle=False).get_tf_dataset().take(len(loader)):
        yield len(features["in_fft"])


def _tf_data(dataset: Dataset) -> Iterator[int]:
    from synthray.quiet import quiet

    with quiet():
        import tensorflow as tf

    names = [parameter.name for parameter in dataset.manifest.table.learned]
    shape = dataset.manifest.feature_shape

    def read(path: bytes) -> tuple[np.ndarray, np.ndarray]:
        table = pq.read_table(path.decode(), page_checksum_verification=True)
        columns = [table[name].combine_chunks() for name in names]
        labels = [getattr(column, "indices", column).to_numpy().astype(np.float32) for column in columns]
        features = [np.frombuffer(chunk.buffers()[1], np.float32) for chunk in table[FEATURES_COLUMN].chunks]
        return np.concatenate(features).reshape(-1, *shape), np.stack(labels, axis=1)

    def batches(path: tf.Tensor) -> tf.data.Dataset:
        features, labels = tf.numpy_function(read, [path], (tf.float32, tf.float32))
        return tf.data.Dataset.from_tensor_slices(
            (tf.ensure_shape(features, (None, *shape)), tf.ensure_shape(labels, (None, len(names))))
        )

    paths = tf.data.Dataset.from_tensor_slices([f"{dataset.uri}/{shard.path}" for shard in dataset.manifest.shards])
    examples = paths.interleave(batches, cycle_length=16, block_length=32, num_parallel_calls=tf.data.AUTOTUNE)
    for features, _ in examples.batch(BATCH_SIZE).prefetch(2).as_numpy_iterator():
        yield len(features)


def _read_parquet(dataset: Dataset) -> Iterator[int]:
    size = int(np.prod(dataset.manifest.feature_shape))
    shards = ray.data.read_parquet([f"{dataset.uri}/{shard.path}" for shard in dataset.manifest.shards])
    for table in shards.iter_batches(batch_size=BATCH_SIZE, batch_format="pyarrow", prefetch_batches=2):
        np.frombuffer(table[FEATURES_COLUMN].combine_chunks().buffers()[1], np.float32).reshape(-1, size)
        yield len(table)


def _streamed(dataset: Dataset) -> Iterator[int]:
    order = EpochOrder(dataset.shard_rows, BATCH_SIZE)
    for batch, _ in loader.stream_batches(dataset, order, (0, 0), EPOCHS, 0, 1):
        yield len(batch)


def _cached(reader: loader.CachedReader, dataset: Dataset) -> Iterator[int]:
    for rows in EpochOrder(dataset.shard_rows, BATCH_SIZE).worker_batches((0, 0), EPOCHS, 0, 1):
        yield len(reader.take(rows))


def _mosaicml(dataset: Dataset, folder: Path) -> Callable[[], Iterator[int]]:
    from streaming import MDSWriter, StreamingDataset
    from torch.utils.data import DataLoader

    shape = ",".join(str(n) for n in dataset.manifest.feature_shape)
    columns = {"features": f"ndarray:float32:{shape}", "labels": "ndarray:float32"}
    with MDSWriter(out=str(folder / "mds"), columns=columns, hashes=["sha256"]) as writer:
        for number in range(len(dataset.manifest.shards)):
            batch = dataset.read_shard(number)
            for features, labels in zip(batch.features, batch.labels.astype(np.float32), strict=True):
                writer.write({"features": features, "labels": labels})

    def load() -> Iterator[int]:
        examples = StreamingDataset(local=str(folder / "mds"), shuffle=True, batch_size=BATCH_SIZE)
        for batch in DataLoader(examples, batch_size=BATCH_SIZE, num_workers=2):
            yield len(batch["features"])

    return load


def _grain(dataset: Dataset, folder: Path) -> Callable[[], Iterator[int]]:
    import grain
    from array_record.python.array_record_module import ArrayRecordWriter

    path = str(folder / "examples.array_record")
    writer = ArrayRecordWriter(path, "group_size:1")
    for number in range(len(dataset.manifest.shards)):
        for features in dataset.read_shard(number).features:
            writer.write(features.tobytes())
    writer.close()
    shape = dataset.manifest.feature_shape

    def load() -> Iterator[int]:
        examples = grain.MapDataset.source(grain.sources.ArrayRecordDataSource(path)).shuffle(seed=0)
        batches = examples.map(lambda raw: np.frombuffer(raw, np.float32).reshape(shape)).batch(BATCH_SIZE)
        for batch in batches.to_iter_dataset(grain.ReadOptions(num_threads=2)):
            yield len(batch)

    return load


PEERS = {"mosaicml": _mosaicml, "grain": _grain}


def _print_shuffling(shard_rows: tuple[int, ...]) -> None:
    """Print how far examples that are stored as neighbours are apart in an epoch."""
    order = EpochOrder(shard_rows, BATCH_SIZE)
    epoch = np.concatenate(list(order.worker_batches((0, 0), 1, 0, 1)))
    epoch = epoch[epoch >= 0]
    position = np.empty(len(epoch), np.int64)
    position[epoch] = np.arange(len(epoch))
    distance = np.abs(np.diff(position))
    ends = np.cumsum(shard_rows)
    first_batches = (epoch[start : start + BATCH_SIZE] for start in range(0, 8 * BATCH_SIZE, BATCH_SIZE))
    shards = [len(np.unique(np.searchsorted(ends, batch, "right"))) for batch in first_batches]
    tenth, median, most = np.percentile(distance, [10, 50, 90])
    print(
        f"\nshuffling: in an epoch, stored neighbours are {median:,.0f} examples apart (median; 10 %: {tenth:,.0f}, "
        f"90 %: {most:,.0f}; full shuffle: {0.293 * len(epoch):,.0f}). A batch of {BATCH_SIZE} has examples of "
        f"{np.mean(shards):.0f} shards."
    )


def _arguments() -> argparse.Namespace:
    name, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=name, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=1024, help="batches of 32 sounds (default: %(default)s)")
    parser.add_argument("--without-s3", action="store_true", help="do not start an S3 server")
    parser.add_argument("--peers", default="", help=f"other loaders, comma-separated: {', '.join(PEERS)}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
