"""From a URI to a data set that is stored, or rendered on the fly (``synth://…``).

Reading its shards is not here; see ``dataset.py``.
"""

from __future__ import annotations

import re

from synthray.data.dataset import Dataset
from synthray.data.manifest import MANIFEST, Manifest
from synthray.errors import NotFound
from synthray.storage import home, newest, open_store

SYNTH = "synth://"
"""Scheme of data sets that are rendered as they are read and never stored."""


def open_dataset(uri: str) -> Dataset:
    """Return the data set at a URI.

    Raises:
        NotFound: there is no published data set.
        ConfigError: the URI cannot be understood.
        DataError: the manifest is corrupt.
    """
    if uri.startswith(SYNTH):
        # Imported late: stored data sets need neither the instrument nor its compiler.
        from synthray.data.sources.on_the_fly import open_on_the_fly

        return open_on_the_fly(uri)
    store = open_store(uri)
    return Dataset(store.uri, Manifest.load(store))


def absolute(uri: str) -> str:
    """Return the URI in a form that is valid in any working directory."""
    return open_dataset(uri).uri if uri.startswith(SYNTH) else open_store(uri).uri


def name_of(uri: str) -> str:
    """Return the data set's name. The names of default output folders are derived from it."""
    if not uri.startswith(SYNTH):
        return open_store(uri).uri.rpartition("/")[2]
    return f"synth-{'-'.join(re.findall(r'[a-z0-9.]+', absolute(uri).removeprefix(SYNTH)))}"


def newest_dataset() -> str:
    """Return the URI of the newest data set under ``SYNTHRAY_HOME``.

    Raises:
        NotFound: there is none.
    """
    folder = f"{home()}/data"
    uri = newest(folder, MANIFEST)
    if uri is None:
        raise NotFound(
            f"{folder}: no data set here. Make one with `synthray generate` and `synthray convert`, or give --data."
        )
    return uri
