"""The README.md of a data set.

Its text depends only on the manifest, its picture also on a few examples of the first shard. The facts and numbers come
from ``summary.py``.
"""

from __future__ import annotations

import html
import re

import numpy as np

from synthray.data.card.pictures import contact_sheet
from synthray.data.card.summary import PARAMETER_COLUMNS, facts, loudness_lines, parameter_rows
from synthray.data.dataset import Dataset
from synthray.data.manifest import PRESETS, Manifest
from synthray.data.parquet import FEATURES_COLUMN, NOISE_SEED_COLUMN
from synthray.errors import Conflict
from synthray.storage import Store
from synthray.synth.parameters import Constant
from synthray.text_tables import escape_cell, markdown_table

CARD = "README.md"
PICTURE = "card/examples.png"

_TITLE = "# Data set of "
_EXAMPLES = 8


def write_card(dataset: Dataset) -> None:
    """Write the files of the card that are missing or differ.

    Raises:
        CorruptShard: the first shard is missing or corrupt.
        StorageError: the store cannot be reached.
    """
    rows = _example_rows(dataset.manifest)
    picture = contact_sheet(dataset.take(rows).features, [f"example {row}" for row in rows])
    for path, data in ((PICTURE, picture), (CARD, render_card(dataset.manifest).encode())):
        if dataset.store.read_if_present(path) != data:
            dataset.store.write(path, data)


def check_free(store: Store) -> None:
    """Raise Conflict if a card would replace a README.md that is not a card."""
    text = store.read_if_present(CARD)
    if text is not None and not text.startswith(_TITLE.encode()):
        raise Conflict(f"{store.uri}/{CARD}: this file is not a data set's card. Give another --out.")


def _example_rows(manifest: Manifest) -> np.ndarray:
    """Return rows spread evenly over the first shard, so that a picture needs only one file."""
    rows = manifest.shards[0].rows
    return np.linspace(0, rows - 1, min(_EXAMPLES, rows)).astype(np.int64)


def render_card(manifest: Manifest) -> str:
    """Return the card as Markdown."""
    sections = [
        f"{_TITLE}{manifest.rows:,} sounds",
        "Each example is a sound and the synthesizer settings that produce it. "
        "[manifest.json](manifest.json) lists the files of the data set; this page is generated from it.",
        "\n".join(f"- {key}: {_code(value)}" for key, value in facts(manifest).items()),
        f"![Spectrograms of {len(_example_rows(manifest))} examples]({PICTURE})",
        "Spectrograms of some examples: time to the right, frequency upwards. "
        "The brightness of each is relative to its loudest bin.",
        f"## The {len(manifest.table.learned)} learned parameters",
        _learned(manifest),
        "A label is a parameter's value scaled to its range, from 0 to 1. On a log range, equal steps of the label are "
        "equal ratios of the value. Mean, standard deviation and distribution (20 equal bins) describe the labels.",
        *_constants(manifest),
        "## Loudness",
        "Number of sounds by loudness. The loudness of a sound is the RMS level of its loudest chunk.",
        _block("text", loudness_lines(manifest)),
        *_skipped(manifest),
        "## How to read it",
        _how_to_read(manifest),
    ]
    return "\n\n".join(sections) + "\n"


def _learned(manifest: Manifest) -> str:
    described = any(parameter.description for parameter in manifest.table.learned)
    header = (*PARAMETER_COLUMNS, *(["description"] if described else []))
    rows = [
        (_code(name), *(_text(cell) for cell in cells), *([_text(parameter.description)] if described else []))
        for (name, *cells), parameter in zip(parameter_rows(manifest), manifest.table.learned, strict=True)
    ]
    return markdown_table(header, rows, right=(2, 3))


def _constants(manifest: Manifest) -> list[str]:
    constants = [parameter for parameter in manifest.table.parameters if isinstance(parameter, Constant)]
    rows = [(_code(p.name), _text(f"{p.value} {p.unit}"), _text(p.description)) for p in constants]
    table = markdown_table(("parameter", "value", "description"), rows)
    return [f"## The {len(rows)} constants", table] if rows else []


def _skipped(manifest: Manifest) -> list[str]:
    listed = [f"- {_code(skip.source)}: {_text(skip.reason)}" for skip in manifest.skipped]
    return ["## Skipped", "These objects of the source could not be used:", "\n".join(listed)] if listed else []


def _how_to_read(manifest: Manifest) -> str:
    """Return Markdown with a query and a program that run unchanged in the data set's folder."""
    shape = " x ".join(map(str, manifest.feature_shape))
    sound = f"`{FEATURES_COLUMN}`, {shape} {manifest.feature_dtype} in row-major order"
    if manifest.content == PRESETS:
        sound = f"`{NOISE_SEED_COLUMN}`, which synthray needs to render the sound"
    steps = [
        "The shards are Parquet files with a column for each learned parameter, in its unit or as a class name, "
        f"and a column {sound}.",
        "Query them with DuckDB in this folder:",
        _block("sql", _query(manifest)),
        "Or read examples with synthray:",
        _block("python", _program(manifest)),
    ]
    return "\n\n".join(steps)


def _query(manifest: Manifest) -> list[str]:
    groups = [_quoted(p.name) for p in manifest.table.choices[:1]]
    means = [f"avg({_quoted(p.name)}) AS {_quoted(f'mean {p.name}')}" for p in manifest.table.ranges[:1]]
    folders = dict.fromkeys(shard.path.rpartition("/")[0] for shard in manifest.shards)
    globs = ", ".join("'{}/*.parquet'".format(folder.replace("'", "''")) for folder in folders)
    return [
        f"SELECT {', '.join([*groups, 'count(*) AS examples', *means])}",
        f"FROM read_parquet([{globs}])",
        "GROUP BY ALL ORDER BY ALL;",
    ]


def _program(manifest: Manifest) -> list[str]:
    count = min(4, manifest.rows)
    return [
        "import numpy as np",
        "from synthray.data.open import open_dataset",
        "",
        'dataset = open_dataset(".")  # or s3://bucket/prefix',
        f"batch = dataset.take(np.arange({count}))  # any of the {manifest.rows} rows, in any order",
        f"batch.features  # {manifest.feature_dtype} {(count, *manifest.feature_shape)}: examples, frames, bins",
        f"batch.labels  # float32 {(count, len(manifest.table.learned))}: a range from 0 to 1, a choice as class index",
        "settings = dataset.manifest.table.labels_to_settings(batch.labels)  # each in its unit",
    ]


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _block(language: str, lines: list[str]) -> str:
    fence = "`" * max(3, 1 + _longest_ticks("\n".join(lines)))
    return "\n".join([f"{fence}{language}", *lines, fence])


# Names, classes and reasons come from foreign data, so they are escaped.


def _code(text: str) -> str:
    text = escape_cell(text)
    ticks = "`" * (1 + _longest_ticks(text))
    return f"{ticks} {text} {ticks}" if "`" in text else f"`{text}`"


def _text(text: str) -> str:
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _longest_ticks(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
