"""Writing of generated sounds in the NumPy/pickle batch layout.

The layout itself is in ``sources/notebook.py``, the choice of sounds in ``sources/synthetic.py``.
"""

from __future__ import annotations

import json
import pickle
from contextlib import suppress

from synthray.data.build.generate_config import GenerateConfig
from synthray.data.examples import Examples
from synthray.data.manifest import MANIFEST
from synthray.data.sources.features_file import encode_features
from synthray.data.sources.notebook import FOLDERS, batch_number, encode_parameters, features_path, parameters_path
from synthray.data.sources.notebook_table import KEYS, PARTS, keys_and_parts
from synthray.data.sources.synthetic import BATCH_SIZE
from synthray.errors import Conflict, NotFound
from synthray.storage import Store, open_store
from synthray.synth.instrument import INSTRUMENT

RESERVATION = "generating.json"
"""File in an unfinished directory that records which sounds it is for. It is deleted when all batches are written."""

_REMEDY = "Give another --out, or remove them."


def reserve_output(config: GenerateConfig) -> None:
    """Reserve the output directory for these sounds. Batches of an earlier run are kept.

    Raises:
        Conflict: the directory has other sounds, more batches than requested, or a published data set; or another
            job generates other sounds there.
    """
    store, reservation = open_store(config.out), json.dumps(config.sounds.provenance).encode()
    _check_free(config, store)
    try:
        store.write(RESERVATION, reservation, replace=False)
    except Conflict:
        with suppress(NotFound):  # the other job has just finished, so its batches are complete
            if (other := store.read(RESERVATION)) != reservation:
                raise Conflict(
                    f"{store.uri}: another job generates other sounds here ({other.decode(errors='replace')}). "
                    f"Give another --out. If that job was stopped, remove {RESERVATION} and its batches."
                ) from None
    _check_free(config, store)


def _check_free(config: GenerateConfig, store: Store) -> None:
    if store.exists(MANIFEST):
        raise Conflict(f"{store.uri}: already holds a published data set. Give another --out.")
    present = {entry.path: batch_number(entry.path) for folder in FOLDERS for entry in store.list(folder)}
    # Other files, such as those of a file manager, are ignored.
    surplus = [path for path, number in present.items() if number is not None and number >= config.batches]
    if surplus:
        raise Conflict(
            f"{store.uri}: holds more than the {config.batches} batches requested ({min(surplus)}). {_REMEDY}"
        )
    if parameters_path(0) in present and store.read(parameters_path(0)) != _parameters(config, 0)[0]:
        raise Conflict(f"{store.uri}: already holds other sounds. {_REMEDY}")
    for number in range(config.batches):
        if parameters_path(number) in present and features_path(number) not in present:
            store.delete(parameters_path(number))  # so that write_batch writes the lost features again


def finish(config: GenerateConfig) -> None:
    """Write the files that all batches share, and remove the reservation.

    Readers reject a directory without these files, so they never read an unfinished one.
    """
    store = open_store(config.out)
    keys, parts = keys_and_parts(INSTRUMENT)
    store.write(PARTS, pickle.dumps(parts, protocol=4))
    store.write(KEYS, pickle.dumps(keys, protocol=4))
    store.delete(RESERVATION)


def write_batch(config: GenerateConfig, number: int) -> bool:
    """Write one batch; return False if an earlier run wrote it.

    Raises:
        Conflict: the files of this batch hold other sounds.
    """
    store = open_store(config.out)
    parameters, batch = _parameters(config, number)
    # The parameters file is written last. If it exists, the features file exists, too.
    if store.exists(parameters_path(number)):
        if store.read(parameters_path(number)) == parameters:
            return False
        raise Conflict(f"{store.uri}/{parameters_path(number)}: already holds other sounds. {_REMEDY}")
    batch = batch or _rendered(config, number)
    store.write(features_path(number), encode_features(batch.features))
    store.write(parameters_path(number), parameters)
    return True


def _parameters(config: GenerateConfig, number: int) -> tuple[bytes, Examples | None]:
    """Return a batch's parameters file, and the batch itself if silent presets are resampled.

    Only rendering shows which presets are silent.
    """
    batch = None if config.reject_silent_dbfs is None else _rendered(config, number)
    labels = batch.labels if batch else config.sounds.labels(number * BATCH_SIZE, BATCH_SIZE)
    return encode_parameters(labels, INSTRUMENT), batch


def _rendered(config: GenerateConfig, number: int) -> Examples:
    return config.sounds.batch(number * BATCH_SIZE, BATCH_SIZE)
