"""Converting: the notebook's batches to shards, beside the least that reading and writing them takes.

    python benchmarks/convert.py
    python benchmarks/convert.py --batches 3500 --dtype float64
    python benchmarks/convert.py --s3                             # both from and to a real S3 server on this machine

In one run, on a Ray that is up and after the page cache was filled, in turn, each after what the other one wrote was
removed. The loop writes into the page cache, whose memory a virtual machine may have to fetch from its host first, and
is faster from round to round; shards go past it:

- the plain loop: ``np.load`` and ``pickle.load`` of every file, and one sequential write of the features' bytes; in S3
  a request an object, and one object written in parts of 8 MiB, one after the other;
- synthray's conversion, which also checks every value and digests all that is read and written, and what its processes
  take of memory at their peak: for all batches and for a quarter of them, to see that it does not grow.
"""

from __future__ import annotations

import argparse
import io
import os
import pickle
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import boto3
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # for infra, which is not installed
from infra.s3_server import running_s3_server
from synthray.cluster import build
from synthray.cluster.connect import connect
from synthray.data.build.notebook_writer import GenerateConfig
from synthray.data.build.plan import BuildConfig
from synthray.storage import Store, open_store

_SAMPLE_S = 0.1
_PART_BYTES = 8 * 1024 * 1024


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="synthray-convert-", dir=arguments.dir) as root, ExitStack() as stack:
        if arguments.s3:
            # before Ray: its workers take over the variables that say where the store is
            server = stack.enter_context(running_s3_server(f"{root}/s3"))
            os.environ.update(server.environment)
            root = f"s3://{server.bucket}"
        connect()
        quarter = max(1, arguments.batches // 4)
        for batches, source in ((quarter, f"{root}/quarter"), (arguments.batches, f"{root}/batches")):
            build.generate(GenerateConfig(source, batches))
            if arguments.dtype != "float32":
                _as_type(open_store(source), arguments.dtype)
        build.convert(f"{root}/quarter", BuildConfig(f"{root}/warm"))
        _, least_bytes = _convert(f"{root}/quarter", f"{root}/out")
        plain, converted = [], []
        for _ in range(arguments.rounds):
            _remove(f"{root}/out")
            plain.append(
                (_plain_on_s3 if arguments.s3 else _plain)(f"{root}/batches", f"{root}/plain", arguments.batches)
            )
            _remove(f"{root}/plain")
            converted.append(_convert(f"{root}/batches", f"{root}/out"))
        plain_s = statistics.median(plain)
        converted_s, most_bytes = statistics.median(s for s, _ in converted), max(peak for _, peak in converted)
    size = arguments.batches * 32 * 20 * 551 * np.dtype(arguments.dtype).itemsize
    print(
        f"\n{arguments.batches:,} batches, {size / 1e6:,.0f} MB of {arguments.dtype}{' in S3' if arguments.s3 else ''}"
    )
    print(f"plain loop and one sequential write  {plain_s:7.2f} s  {size / plain_s / 1e6:7,.0f} MB/s")
    print(f"synthray                             {converted_s:7.2f} s  {size / converted_s / 1e6:7,.0f} MB/s")
    ratios = [converted / plain for plain, (converted, _) in zip(plain, converted, strict=True)]
    told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"ratio of the medians                 {converted_s / plain_s:7.2f}  (by rounds: {told})")
    best_plain_s, best_s = min(plain), min(s for s, _ in converted)
    print(f"ratio of the fastest rounds          {best_s / best_plain_s:7.2f}  ({best_s:.2f} to {best_plain_s:.2f} s)")
    print(f"memory at the peak, of all processes: {least_bytes / 1e6:,.0f} MB for {quarter:,} batches, ", end="")
    print(f"{most_bytes / 1e6:,.0f} MB for {arguments.batches:,}")


def _as_type(source: Store, dtype: str) -> None:
    """Write the features once more, as another type."""
    for entry in source.list("fft"):
        file = io.BytesIO()
        np.save(file, np.load(io.BytesIO(source.read(entry.path))).astype(dtype))
        source.write(entry.path, file.getvalue())


def _remove(uri: str) -> None:
    store = open_store(uri)
    for entry in store.list():
        store.delete(entry.path)


def _plain(source: str, out: str, batches: int) -> float:
    Path(out).mkdir()
    began_s = time.perf_counter()
    with Path(out, "features").open("wb") as file:
        for number in range(batches):
            features = np.load(f"{source}/fft/fft_batch_{number}.npy")
            with Path(source, f"parameters/parameter_batches_{number}.pkl").open("rb") as parameters:
                pickle.load(parameters)
            file.write(features.astype(np.float32, copy=False))
    return time.perf_counter() - began_s


def _plain_on_s3(source: str, out: str, batches: int) -> float:
    s3 = boto3.client("s3")
    bucket, _, folder = source.removeprefix("s3://").partition("/")
    place = {"Bucket": bucket, "Key": f"{out.removeprefix(f's3://{bucket}/')}/features"}

    def read(path: str) -> io.BytesIO:
        return io.BytesIO(s3.get_object(Bucket=bucket, Key=f"{folder}/{path}")["Body"].read())

    began_s = time.perf_counter()
    upload, parts, left = s3.create_multipart_upload(**place)["UploadId"], [], bytearray()

    def write() -> None:
        part = {"UploadId": upload, "PartNumber": len(parts) + 1}
        answer = s3.upload_part(**place, **part, Body=bytes(left))
        parts.append({"ETag": answer["ETag"], "PartNumber": part["PartNumber"]})
        left.clear()

    for number in range(batches):
        features = np.load(read(f"fft/fft_batch_{number}.npy"))
        pickle.load(read(f"parameters/parameter_batches_{number}.pkl"))
        left += features.astype(np.float32, copy=False).tobytes()
        if len(left) >= _PART_BYTES:
            write()
    if left:
        write()
    s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
    return time.perf_counter() - began_s


def _convert(source: str, out: str) -> tuple[float, int]:
    """Seconds, and bytes of memory at the peak, of this process and all that it started."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_S):
            peak[0] = max(peak[0], _memory_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began_s = time.perf_counter()
    build.convert(source, BuildConfig(out))
    spent_s = time.perf_counter() - began_s
    done.set()
    watcher.join()
    return spent_s, peak[0]


def _memory_bytes() -> int:
    """Private memory of Ray's workers and of this process; what they share, the object store, is not counted."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            if not command.startswith(b"ray::") and folder.name != str(_THIS):
                continue
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            total += int(status["RssAnon"].split()[0]) * 1024
        except (OSError, KeyError):  # it ended meanwhile
            continue
    return total


def _arguments() -> argparse.Namespace:
    name, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=name, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=1024, help="of 32 sounds (default: 1024)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of the notebook's files")
    parser.add_argument("--rounds", type=int, default=3, help="of both, in turn (default: 3)")
    parser.add_argument("--s3", action="store_true", help="in a real S3 server instead of a folder")
    parser.add_argument("--dir", help="where to put them (default: the system's)")
    return parser.parse_args()


_THIS = Path("/proc/self").resolve().name

if __name__ == "__main__":
    main()
