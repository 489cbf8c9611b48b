"""Converting: the notebook's batches to shards, beside the least that reading and writing them takes.

    python benchmarks/convert.py
    python benchmarks/convert.py --batches 3500 --dtype float64

In one run, on a Ray that is up and after the page cache was filled, in turn, each after what the other one wrote was
removed, so that both write to memory that is as fresh:

- the plain loop: ``np.load`` and ``pickle.load`` of every file, and one sequential write of the features' bytes;
- synthray's conversion, which also checks every value and digests all that is read and written, and what its processes
  take of memory at their peak: for all batches and for a quarter of them, to see that it does not grow.
"""

from __future__ import annotations

import argparse
import pickle
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from synthray.data import ray_data
from synthray.data.build import BuildConfig
from synthray.data.generate import GenerateConfig

_SAMPLE_S = 0.1


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="synthray-convert-", dir=arguments.dir) as name:
        folder = Path(name)
        ray_data.connect()
        quarter = max(1, arguments.batches // 4)
        for batches, source in ((quarter, folder / "quarter"), (arguments.batches, folder / "batches")):
            ray_data.generate(GenerateConfig(str(source), batches))
            if arguments.dtype != "float32":
                for path in (source / "fft").iterdir():
                    np.save(path, np.load(path).astype(arguments.dtype))
        ray_data.convert(str(folder / "quarter"), BuildConfig(str(folder / "warm")))
        _, least_bytes = _convert(folder / "quarter", folder / "out")
        plain, converted = [], []
        for _ in range(arguments.rounds):
            shutil.rmtree(folder / "out")
            plain.append(_plain(folder / "batches", folder / "plain", arguments.batches))
            (folder / "plain").unlink()
            converted.append(_convert(folder / "batches", folder / "out"))
        plain_s = statistics.median(plain)
        converted_s, most_bytes = statistics.median(s for s, _ in converted), max(peak for _, peak in converted)
    size = arguments.batches * 32 * 20 * 551 * np.dtype(arguments.dtype).itemsize
    print(f"\n{arguments.batches:,} batches, {size / 1e6:,.0f} MB of {arguments.dtype}")
    print(f"plain loop and one sequential write  {plain_s:7.2f} s  {size / plain_s / 1e6:7,.0f} MB/s")
    print(f"synthray                             {converted_s:7.2f} s  {size / converted_s / 1e6:7,.0f} MB/s")
    ratios = [converted / plain for plain, (converted, _) in zip(plain, converted, strict=True)]
    told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"ratio of the medians                 {converted_s / plain_s:7.2f}  (by rounds: {told})")
    print(f"memory at the peak, of all processes: {least_bytes / 1e6:,.0f} MB for {quarter:,} batches, ", end="")
    print(f"{most_bytes / 1e6:,.0f} MB for {arguments.batches:,}")


def _plain(source: Path, out: Path, batches: int) -> float:
    began_s = time.perf_counter()
    with out.open("wb") as file:
        for number in range(batches):
            features = np.load(source / f"fft/fft_batch_{number}.npy")
            with (source / f"parameters/parameter_batches_{number}.pkl").open("rb") as parameters:
                pickle.load(parameters)
            file.write(features.astype(np.float32, copy=False))
    return time.perf_counter() - began_s


def _convert(source: Path, out: Path) -> tuple[float, int]:
    """Seconds, and bytes of memory at the peak, of this process and all that it started."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_S):
            peak[0] = max(peak[0], _memory_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began_s = time.perf_counter()
    ray_data.convert(str(source), BuildConfig(str(out)))
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
    parser.add_argument("--dir", help="where to put them (default: the system's)")
    return parser.parse_args()


_THIS = Path("/proc/self").resolve().name

if __name__ == "__main__":
    main()
