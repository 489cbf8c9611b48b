"""The card of a data set: a ``README.md`` beside the manifest that tells a person what is in it.

The text is a pure function of the manifest, so it holds no time, host or place either. The picture that it shows is one
of the manifest and of a few examples of the first shard.
"""

from __future__ import annotations

import html
import re

import numpy as np

from synthray.data.card.pictures import contact_sheet
from synthray.data.card.summary import PARAMETER_COLUMNS, facts, loudness_lines, parameter_rows
from synthray.data.dataset import Dataset
from synthray.data.manifest import PRESETS, Manifest
from synthray.data.parquet import FEATURES, NOISE_SEED
from synthray.errors import Conflict, NotFound
from synthray.storage import Store
from synthray.synth.parameters import Constant

CARD = "README.md"
PICTURE = "card/examples.png"

_TITLE = "# Data set of "
_EXAMPLES = 8


def write_card(dataset: Dataset) -> None:
    """Write the card's files where they are missing or differ.

    Raises:
        CorruptShard: the first shard is not as published.
        StorageError: the store cannot be reached; the same command, run again, writes the card.
    """
    rows = _example_rows(dataset.manifest)
    picture = contact_sheet(dataset.take(rows).features, [f"example {row}" for row in rows])
    for path, data in ((PICTURE, picture), (CARD, render_card(dataset.manifest).encode())):
        if _present(dataset.store, path) != data:
            dataset.store.write(path, data)


def check_free(store: Store) -> None:
    """See that the card of a data set that is to be made would replace no other text; raises Conflict."""
    text = _present(store, CARD)
    if text is not None and not text.startswith(_TITLE.encode()):
        raise Conflict(f"{store.uri} holds a {CARD} that is not of a data set: give another --out")


def _present(store: Store, path: str) -> bytes | None:
    try:
        return store.read(path)
    except NotFound:
        return None


def _example_rows(manifest: Manifest) -> np.ndarray:
    """Rows of the data set, spread evenly over its first shard: one object is all that is read for a picture."""
    rows = manifest.shards[0].rows
    return np.linspace(0, rows - 1, min(_EXAMPLES, rows)).astype(np.int64)


def render_card(manifest: Manifest) -> str:
    """The card in Markdown."""
    sections = [
        f"{_TITLE}{manifest.rows:,} sounds",
        "Each sound stands beside the synthesizer settings that made it. [manifest.json](manifest.json) says what "
        "belongs to the data set; this page is made from it.",
        "\n".join(f"- {key}: {_code(value)}" for key, value in facts(manifest).items()),
        f"![Spectrograms of {len(_example_rows(manifest))} examples]({PICTURE})",
        "Frequency goes upwards, time to the right; each example is as bright as its own loudest bin.",
        f"## The {len(manifest.table.learned)} learned parameters",
        _learned(manifest),
        "Mean and deviation are of the labels: where a value stands in its range, from 0 to 1; on a log curve equal "
        "steps are equal ratios. A distribution shows 20 equal steps from 0 to 1.",
        *_constants(manifest),
        *_loudness(manifest),
        *_skipped(manifest),
        "## How to read it",
        _how_to_read(manifest),
    ]
    return "\n\n".join(sections) + "\n"


def _learned(manifest: Manifest) -> str:
    described = any(parameter.description for parameter in manifest.table.learned)
    rows = [
        (_code(name), *(_text(cell) for cell in cells), *([_text(parameter.description)] if described else []))
        for (name, *cells), parameter in zip(parameter_rows(manifest), manifest.table.learned, strict=True)
    ]
    return _table((*PARAMETER_COLUMNS, *(["what it is"] if described else [])), rows, right=(2, 3))


def _constants(manifest: Manifest) -> list[str]:
    constants = [parameter for parameter in manifest.table.parameters if isinstance(parameter, Constant)]
    rows = [(_code(p.name), _text(f"{p.value} {p.unit}"), _text(p.description)) for p in constants]
    return [f"## The {len(rows)} constants", _table(("parameter", "value", "what it is"), rows)] if rows else []


def _loudness(manifest: Manifest) -> list[str]:
    lines = loudness_lines(manifest)
    about = "How many sounds are how loud: RMS of a sound's loudest chunk, against full scale."
    return ["## Loudness", about, _block("text", lines)] if lines else []


def _skipped(manifest: Manifest) -> list[str]:
    listed = [f"- {_code(skip.source)}: {_text(skip.reason)}" for skip in manifest.skipped]
    return ["## Skipped", "These objects of the source could not be used.", "\n".join(listed)] if listed else []


def _how_to_read(manifest: Manifest) -> str:
    """Two ways, each of which runs as it stands, in the data set's folder."""
    table, shape, dtype = manifest.table, manifest.feature_shape, manifest.feature_dtype
    groups = [_quoted(p.name) for p in table.choices[:1]]
    means = [f"avg({_quoted(p.name)}) AS {_quoted(f'mean {p.name}')}" for p in table.ranges[:1]]
    folders = dict.fromkeys(shard.path.rpartition("/")[0] for shard in manifest.shards)
    globs = ", ".join("'{}/*.parquet'".format(folder.replace("'", "''")) for folder in folders)
    sql = [
        f"SELECT {', '.join([*groups, 'count(*) AS examples', *means])}",
        f"FROM read_parquet([{globs}])",
        "GROUP BY ALL ORDER BY ALL;",
    ]
    some = min(4, manifest.rows)
    python = [
        "import numpy as np",
        "from synthray.data.open import open_dataset",
        "",
        'dataset = open_dataset(".")  # or s3://…',
        f"batch = dataset.take(np.arange({some}))  # any of its {manifest.rows} rows, in any order",
        f"batch.features  # {dtype} {(some, *shape)}: examples, frames, bins",
        f"batch.labels  # float32 {(some, len(table.learned))}: a range from 0 to 1, a choice as its class's number",
        "settings = dataset.manifest.table.labels_to_settings(batch.labels)  # in each parameter's unit",
    ]
    sound = f"`{FEATURES}`, {' x '.join(map(str, shape))} {dtype} values in row-major order"
    if manifest.content == PRESETS:
        sound = f"`{NOISE_SEED}`, from which synthray renders the sound"
    columns = f"The shards are Parquet: a column for each learned parameter, in its unit or by class name, and {sound}."
    steps = [columns, "In DuckDB, in this folder:", _block("sql", sql), "With synthray:", _block("python", python)]
    return "\n\n".join(steps)


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]], right: tuple[int, ...] = ()) -> str:
    rules = tuple("---:" if i in right else "---" for i in range(len(header)))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rules, *rows))


def _block(language: str, lines: list[str]) -> str:
    fence = "`" * max(3, 1 + _longest_ticks("\n".join(lines)))
    return "\n".join([f"{fence}{language}", *lines, fence])


# Names, classes and reasons are whatever a foreign source has: none may change what stands around it.


def _code(text: str) -> str:
    text = " ".join(text.split()).replace("|", "\\|")
    ticks = "`" * (1 + _longest_ticks(text))
    return f"{ticks} {text} {ticks}" if "`" in text else f"`{text}`"


def _text(text: str) -> str:
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _longest_ticks(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
