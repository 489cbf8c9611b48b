"""Fake model files: arbitrary bytes with a valid card."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from synthray.storage import open_store
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card


def write_model(
    folder: Path | str, path: str, content: bytes = b"weights", hour: int | None = None, **fields: object
) -> str:
    """Write ``path`` and its card below a folder, and return the URI.

    Args:
        folder: path or URI.
        path: of the ``.keras`` file below it.
        content: bytes of the file.
        hour: modification time of the file, to order local models.
        fields: of the card.
    """
    stem = path.removesuffix(".keras")
    fields = {"metrics": {"epoch": 3, "val_loss": 1.25}, "epochs": 3, **fields}
    sha256 = hashlib.sha256(content).hexdigest()
    card = build_card(FOREIGN, FOREIGN_SHAPE, stem.rpartition("/")[2], **fields, sha256=sha256)
    store = open_store(folder)
    store.write(path, content)
    store.write(f"{stem}.json", card.encode())
    if hour is not None:
        os.utime(Path(folder, path), (1_700_000_000 + 3600 * hour,) * 2)
    return f"{store.uri}/{path}"
