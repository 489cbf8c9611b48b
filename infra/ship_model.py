"""Copy a trained model into the package, as the model that works right after installation.

    .venv/bin/python infra/ship_model.py models/final/model_2000_20.keras

Its weights are rounded to a few bits and the file is compressed, so that it stays small. It still opens, predicts and
trains in plain Keras.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import keras
import numpy as np

from synthray.model.heads import HeadLayout
from synthray.model.numpy_network import agrees_with_keras, read_network
from synthray.model.saved import load_model
from synthray.model.shipped import NAME
from synthray.synth.instrument import INSTRUMENT

MAX_MB = 10
KEPT_BITS = 5
"""Bits of a weight's mantissa that are kept. A weight changes by 1.6 % at most, and the errors cancel each other."""


def main() -> None:
    """Round, compress and copy a model and its card."""
    parser = argparse.ArgumentParser("ship_model.py", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("model", metavar="MODEL.keras", help="URI of the trained model")
    default = Path(__file__).parents[1] / "synthray" / "model" / "shipped"
    parser.add_argument("--out", type=Path, default=default, help="folder to write to (default: %(default)s)")
    arguments = parser.parse_args()
    model, card = load_model(arguments.model)
    if card.table != INSTRUMENT:
        raise SystemExit(f"{arguments.model}: trained on another instrument. Train it with this version of synthray.")
    file = write_small(model, arguments.out / f"{NAME}.keras")
    # The output folder exists on this machine only, so the card does not name it. It names the data: anyone can render
    # them from their URI.
    config = {key: value for key, value in card.config.items() if key != "out"}
    raw = file.read_bytes()
    layout = HeadLayout(card.table, card.bins)
    network = read_network(raw, layout, card.feature_shape, NAME)
    agrees = network is not None and agrees_with_keras(network, model, layout, card.feature_shape)
    card = replace(card, name=NAME, config=config, sha256=hashlib.sha256(raw).hexdigest(), numpy=agrees)
    file.with_suffix(".json").write_bytes(card.encode())
    print(f"wrote {file}, {file.stat().st_size / 1e6:.1f} MB")


def write_small(model: keras.Model, file: Path) -> Path:
    """Write a model with rounded weights to a compressed file. Nothing is written if it is too large.

    Raises:
        SystemExit: the file would be larger than ``MAX_MB``.
    """
    model.set_weights([rounded(weight) for weight in model.get_weights()])
    compressed = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, file.name)
        model.save(plain)
        with zipfile.ZipFile(plain) as source, zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as target:
            for entry in source.infolist():
                raw = source.read(entry)
                target.writestr(entry.filename, compressed_hdf5(raw) if entry.filename.endswith(".h5") else raw)
    size_mb = len(compressed.getvalue()) / 1e6
    if size_mb > MAX_MB:
        raise SystemExit(f"{file}: {size_mb:.1f} MB, more than {MAX_MB}. Train a narrower network.")
    file.write_bytes(compressed.getvalue())
    return file


def compressed_hdf5(raw: bytes) -> bytes:
    """Return an HDF5 file with the same groups and arrays, compressed.

    The first bytes of all numbers are stored together, then the second bytes, and so on. The file is a fifth smaller.
    """
    copy = io.BytesIO()
    with h5py.File(io.BytesIO(raw)) as source, h5py.File(copy, "w") as target:

        def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                options = {"compression": 9, "shuffle": True} if item.shape else {}
                new = target.create_dataset(name, data=item[()], **options)
            else:
                new = target.require_group(name)
            new.attrs.update(item.attrs)

        target.attrs.update(source.attrs)
        source.visititems(add)
    return copy.getvalue()


def rounded(weights: np.ndarray, kept_bits: int = KEPT_BITS) -> np.ndarray:
    """Return float32 weights whose mantissas are rounded to ``kept_bits`` bits, to nearest, ties to even."""
    dropped = np.uint32(23 - kept_bits)
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32)
    odd = (bits >> dropped) & np.uint32(1)
    nearest = bits + (np.uint32(1) << (dropped - np.uint32(1))) - np.uint32(1) + odd
    return (nearest >> dropped << dropped).view(np.float32)


if __name__ == "__main__":
    main()
