"""Compare the conversion of NumPy/pickle batches with a plain loop and with other libraries.

    python benchmarks/convert.py --peers-python /tmp/peers/bin/python
    python benchmarks/convert.py --batches 3500 --dtype float64
    python benchmarks/convert.py --peers mosaicml,plain
    python benchmarks/convert.py --s3                # source and output in a real S3 server on this machine, plain only

All contenders read the same files in one run, from the page cache, with a worker for each core. Their order alternates
from round to round, and each output is removed before the next conversion.

- synthray: the conversion on a running Ray. It checks every value and computes the SHA-256 of every shard;
- plain: ``np.load`` and ``pickle.load`` of every file in a loop, and one sequential write of the features;
- mosaicml: MosaicML's ``MDSWriter``, one process for each core, and a merged index;
- litdata: LitData's ``optimize``;
- huggingface: Hugging Face ``Dataset.from_generator(...).to_parquet``. Its bytes include the Arrow cache.

The other libraries need torch, so they run in an environment of their own:

    python3.11 -m venv /tmp/peers
    /tmp/peers/bin/pip install torch mosaicml-streaming litdata datasets

At the end, it prints synthray's peak memory for all batches and for a quarter of them. The two should not differ.
"""

from __future__ import annotations

import argparse
import io
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import boto3
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # for infra, which is not installed
import convert_peers

from infra.s3_server import running_s3_server
from synthray.cluster import build
from synthray.cluster.connect import connect
from synthray.data.build.generate_config import GenerateConfig
from synthray.data.build.plan import BuildConfig
from synthray.storage import Store, open_store
from synthray.synth.voice import usable_cores

Conversion = Callable[[str, str, int], float]
"""Converts ``batches`` batches from a source URI to an output URI, and returns the seconds."""

_OURS = "synthray"
_SAMPLE_S = 0.1
_PART_BYTES = 8 * 1024 * 1024


@dataclass
class Measured:
    """The rounds of one contender."""

    seconds: list[float] = field(default_factory=list)
    bytes_written: int = 0


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="synthray-convert-", dir=arguments.dir) as root, ExitStack() as stack:
        if arguments.s3:
            # started before Ray, whose workers inherit the variables with its address
            server = stack.enter_context(running_s3_server(f"{root}/s3"))
            os.environ.update(server.environment)
            root = f"s3://{server.bucket}"
        conversions = _conversions(arguments)
        connect()
        quarter = max(1, arguments.batches // 4)
        for batches, source in ((quarter, f"{root}/quarter"), (arguments.batches, f"{root}/batches")):
            build.generate(GenerateConfig(source, batches))
            if arguments.dtype != "float32":
                _as_type(open_store(source), arguments.dtype)
        quarter_bytes = _peak_memory_bytes(f"{root}/quarter", f"{root}/out", quarter)
        measured = _measure(conversions, root, arguments.batches, arguments.rounds)
        all_bytes = _peak_memory_bytes(f"{root}/batches", f"{root}/out", arguments.batches)
    _print(measured, arguments)
    print(f"\npeak memory of synthray's processes: {quarter_bytes / 1e6:,.0f} MB for {quarter:,} batches, ", end="")
    print(f"{all_bytes / 1e6:,.0f} MB for {arguments.batches:,}")


def _conversions(arguments: argparse.Namespace) -> dict[str, Conversion]:
    """Return the contenders to measure; print the others with the reason."""
    conversions: dict[str, Conversion] = {_OURS: _convert}
    for name in filter(None, arguments.peers.split(",")):
        if name == "plain":
            conversions[name] = _plain_on_s3 if arguments.s3 else _plain
        elif arguments.s3:
            print(f"{name}: not measured, because this benchmark runs it on local files only")
        elif _has_module(arguments.peers_python, convert_peers.MODULES[name]):
            conversions[name] = partial(_run_peer, arguments.peers_python, name)
        else:
            command = f"{arguments.peers_python} -m pip install torch {convert_peers.PACKAGES[name]}"
            print(f"{name}: not measured, because its package is missing. Install it with: {command}")
    return conversions


def _has_module(python: str, module: str) -> bool:
    imported = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
    return imported.returncode == 0


def _measure(conversions: dict[str, Conversion], root: str, batches: int, rounds: int) -> dict[str, Measured]:
    measured = {name: Measured() for name in conversions}
    _convert(f"{root}/batches", f"{root}/out", batches)  # fills the page cache and starts Ray's workers
    _remove(f"{root}/out")
    for number in range(rounds):
        for name in list(conversions)[:: -1 if number % 2 else 1]:
            out = f"{root}/{name}-{number}"
            measured[name].seconds.append(conversions[name](f"{root}/batches", out, batches))
            measured[name].bytes_written = sum(entry.size for entry in open_store(out).list())
            _remove(out)
    return measured


def _print(measured: dict[str, Measured], arguments: argparse.Namespace) -> None:
    place = "in S3" if arguments.s3 else "on disk"
    sizes = f"{arguments.batches:,} batches of {arguments.dtype} {place}"
    print(f"\n{sizes}, {arguments.rounds} rounds, {usable_cores()} cores")
    print(f"{'':12} {'median s':>9} {'range s':>16} {'batches/s':>10} {'x synthray':>11} {'MB written':>11}")
    ours_s = statistics.median(measured[_OURS].seconds)
    for name, result in measured.items():
        median_s = statistics.median(result.seconds)
        range_s = f"{min(result.seconds):.2f} to {max(result.seconds):.2f}"
        print(
            f"{name:12} {median_s:9.2f} {range_s:>16} {arguments.batches / median_s:10,.0f} "
            f"{median_s / ours_s:11.2f} {result.bytes_written / 1e6:11,.0f}"
        )


def _convert(source: str, out: str, batches: int) -> float:  # noqa: ARG001 - converts all batches of the source
    started_s = time.perf_counter()
    build.convert(source, BuildConfig(out))
    return time.perf_counter() - started_s


def _run_peer(python: str, name: str, source: str, out: str, batches: int) -> float:
    command = [python, convert_peers.__file__, name, source, out, str(batches), str(usable_cores())]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"{name} failed:\n{finished.stderr}")
    return float(finished.stdout.splitlines()[-1])


def _plain(source: str, out: str, batches: int) -> float:
    Path(out).mkdir()
    started_s = time.perf_counter()
    with Path(out, "features").open("wb") as file:
        for number in range(batches):
            features = np.load(f"{source}/fft/fft_batch_{number}.npy")
            with Path(source, f"parameters/parameter_batches_{number}.pkl").open("rb") as parameters:
                pickle.load(parameters)
            file.write(features.astype(np.float32, copy=False))
    return time.perf_counter() - started_s


def _plain_on_s3(source: str, out: str, batches: int) -> float:
    """Read with one request an object, and write one object in parts of 8 MiB, one after the other."""
    s3 = boto3.client("s3")
    bucket, _, folder = source.removeprefix("s3://").partition("/")
    target = {"Bucket": bucket, "Key": f"{out.removeprefix(f's3://{bucket}/')}/features"}

    def read(path: str) -> io.BytesIO:
        return io.BytesIO(s3.get_object(Bucket=bucket, Key=f"{folder}/{path}")["Body"].read())

    started_s = time.perf_counter()
    upload, parts, buffer = s3.create_multipart_upload(**target)["UploadId"], [], bytearray()

    def write_part() -> None:
        part = {"UploadId": upload, "PartNumber": len(parts) + 1}
        answer = s3.upload_part(**target, **part, Body=bytes(buffer))
        parts.append({"ETag": answer["ETag"], "PartNumber": part["PartNumber"]})
        buffer.clear()

    for number in range(batches):
        features = np.load(read(f"fft/fft_batch_{number}.npy"))
        pickle.load(read(f"parameters/parameter_batches_{number}.pkl"))
        buffer += features.astype(np.float32, copy=False).tobytes()
        if len(buffer) >= _PART_BYTES:
            write_part()
    if buffer:
        write_part()
    s3.complete_multipart_upload(**target, UploadId=upload, MultipartUpload={"Parts": parts})
    return time.perf_counter() - started_s


def _as_type(source: Store, dtype: str) -> None:
    """Rewrite the features as another dtype."""
    for entry in source.list("fft"):
        file = io.BytesIO()
        np.save(file, np.load(io.BytesIO(source.read(entry.path))).astype(dtype))
        source.write(entry.path, file.getvalue())


def _remove(uri: str) -> None:
    store = open_store(uri)
    for entry in store.list():
        store.delete(entry.path)


def _peak_memory_bytes(source: str, out: str, batches: int) -> int:
    """Convert once and return the peak memory of this process and Ray's workers."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_S):
            peak[0] = max(peak[0], _memory_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    _convert(source, out, batches)
    done.set()
    watcher.join()
    _remove(out)
    return peak[0]


def _memory_bytes() -> int:
    """Return the private memory of Ray's workers and this process, without the shared object store."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            if not command.startswith(b"ray::") and folder.name != str(os.getpid()):
                continue
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            total += int(status["RssAnon"].split()[0]) * 1024
        except (OSError, KeyError):  # the process has just ended
            continue
    return total


def _arguments() -> argparse.Namespace:
    description, _, epilog = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    peers = ["plain", *convert_peers.CONTENDERS]
    parser.add_argument("--batches", type=int, default=1024, help="batches of 32 sounds (default: 1024)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="dtype of the batch files")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all contenders (default: 3)")
    parser.add_argument("--peers", default=",".join(peers), help="comma-separated contenders (default: %(default)s)")
    parser.add_argument("--peers-python", default=sys.executable, help="Python that has the peers' packages")
    parser.add_argument("--s3", action="store_true", help="use a real S3 server instead of a folder")
    parser.add_argument("--dir", help="folder for the files (default: the system's temporary folder)")
    arguments = parser.parse_args()
    if unknown := set(filter(None, arguments.peers.split(","))) - set(peers):
        parser.error(f"--peers: unknown contenders ({', '.join(sorted(unknown))}). Choose from {', '.join(peers)}.")
    return arguments


if __name__ == "__main__":
    main()
