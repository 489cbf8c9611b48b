"""Files that look like saved models to whoever does not open them: some bytes, and beside them their card."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from synthray.storage import open_store
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card


def write_model(
    place: Path | str, path: str, content: bytes = b"weights", hour: int | None = None, **card: object
) -> str:
    """Write ``path`` and its card below a place; returns the URI. hour: when, for the order of local models."""
    stem = path.removesuffix(".keras")
    told = {"metrics": {"epoch": 3, "val_loss": 1.25}, "epochs": 3, **card}
    made = build_card(
        FOREIGN, FOREIGN_SHAPE, stem.rpartition("/")[2], **told, sha256=hashlib.sha256(content).hexdigest()
    )
    store = open_store(place)
    store.write(path, content)
    store.write(f"{stem}.json", made.encode())
    if hour is not None:
        os.utime(Path(place, path), (1_700_000_000 + 3600 * hour,) * 2)
    return f"{store.uri}/{path}"
