"""The card of a data set: correct, deterministic, and well-formed for any names in foreign data."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from PIL import Image

from synthray.data.card import readme as card_module
from synthray.data.card.pictures import contact_sheet
from synthray.data.card.readme import CARD, PICTURE, render_card, write_card
from synthray.data.card.summary import facts, loudness_lines, parameter_rows
from synthray.data.dataset import Dataset
from synthray.data.manifest import Manifest, Shard, Skipped
from synthray.data.open import open_dataset
from synthray.errors import CorruptShard, StorageError
from synthray.synth.parameters import Choice, Constant, ParameterTable, Range
from synthray.text_tables import sparkline
from tests import foreign
from tests.conftest import convert_here


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return foreign.write(tmp_path / "training_data")


def card_files(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {name: ((folder / name).read_bytes(), (folder / name).stat().st_mtime_ns) for name in (CARD, PICTURE)}


def block(card: str, language: str) -> str:
    return re.search(rf"^```{language}\n(.*?)\n```$", card, re.DOTALL | re.MULTILINE)[1]


def manifest_of(*parameters: Range | Choice | Constant, **fields: object) -> Manifest:
    """Return the manifest of a data set that does not exist."""
    counts = {"below": 2, "counts": [5] + [0] * 18 + [1], "above": 1}
    found = {
        p.name: {"counts": dict.fromkeys(p.values, 3)}
        if isinstance(p, Choice)
        else {"mean": 0.25, "deviation": 0.125, "minimum": -1.0, "maximum": 2.0, "histogram": counts}
        for p in parameters
        if not isinstance(p, Constant)
    }
    loudness = {"from_dbfs": -100, "step_db": 5, "below": 1, "counts": [0, 4, 0, 4] + [0] * 16}
    shards = (Shard("../first/shards/0.parquet", 5, 100, "ab"), Shard("shards/1.parquet", 4, 90, "cd"))
    made = Manifest(ParameterTable(parameters), (3, 4), "float16", {"kind": "notebook"}, shards, found)
    return replace(made, **{"loudness": loudness, **fields})


def test_card_is_written_once(source: Path, tmp_path: Path) -> None:
    manifest = convert_here(source, tmp_path / "out")
    first = card_files(tmp_path / "out")
    assert first[CARD][0].decode() == render_card(manifest)
    assert convert_here(source, tmp_path / "out") == manifest
    assert card_files(tmp_path / "out") == first


@pytest.mark.parametrize("name", [CARD, PICTURE])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"other")])
def test_convert_again_repairs_the_card(
    name: str, damage: Callable[[Path], object], source: Path, tmp_path: Path
) -> None:
    convert_here(source, tmp_path / "out")
    before = {name: raw for name, (raw, _) in card_files(tmp_path / "out").items()}
    damage(tmp_path / "out" / name)
    convert_here(source, tmp_path / "out")
    assert {name: raw for name, (raw, _) in card_files(tmp_path / "out").items()} == before


def test_data_set_without_a_card_can_be_read(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(dataset: Dataset) -> None:
        raise StorageError("no room")

    monkeypatch.setattr("synthray.data.build.publish.write_card", refuse)
    with pytest.raises(StorageError, match="no room"):  # the job fails, because its output is incomplete
        convert_here(source, tmp_path / "out")
    assert not (tmp_path / "out" / CARD).exists()
    assert len(open_dataset(str(tmp_path / "out")).take(np.arange(5))) == 5


def test_write_card_with_a_corrupt_first_shard_raises(source: Path, tmp_path: Path) -> None:
    manifest = convert_here(source, tmp_path / "out")
    (tmp_path / "out" / manifest.shards[0].path).write_bytes(b"other")
    with pytest.raises(CorruptShard, match=manifest.shards[0].path):
        write_card(open_dataset(str(tmp_path / "out")))


def test_card_describes_the_content_and_not_the_location(source: Path, tmp_path: Path) -> None:
    (source / "fft" / "fft_batch_2.npy").write_bytes(b"torn")
    manifest = convert_here(source, tmp_path / "out", skip_bad=True)
    card = (tmp_path / "out" / CARD).read_text()
    for text in (
        "# Data set of 171 sounds",
        manifest.digest,
        "12 x 33 float32",
        "`1_osc_pitch` | 0 to 1 |",
        "`global_volume`",
        "- `fft/fft_batch_2.npy`: it is not a whole .npy file",
        f"![Spectrograms of 8 examples]({PICTURE})",
        " dBFS ",
    ):
        assert text in card
    counts = manifest.statistics["env_0"]["counts"]
    assert f"1 {counts['1'] / 171:.0%}, 2 {counts['2'] / 171:.0%} |" in card
    assert str(tmp_path) not in card
    elsewhere = convert_here(source, tmp_path / "elsewhere", skip_bad=True)
    assert elsewhere == manifest
    assert {n: raw for n, (raw, _) in card_files(tmp_path / "elsewhere").items()} == {
        n: raw for n, (raw, _) in card_files(tmp_path / "out").items()
    }


def test_card_examples_run_unchanged(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = convert_here(source, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    card = Path(CARD).read_text()
    rows = duckdb.sql(block(card, "sql")).fetchall()
    counts = manifest.statistics["1_osc_wave"]["counts"]
    assert {name: count for name, count, _ in rows} == {name: count for name, count in counts.items() if count}
    scope: dict[str, object] = {}
    exec(block(card, "python"), scope)
    assert scope["batch"].features.shape == (4, foreign.FRAMES, foreign.BINS)
    assert scope["settings"].shape == (4, 5)


@pytest.mark.parametrize("parameters", [(Range('a "b"'),), (Choice("it's", ("x", "y")),)])
def test_card_query_runs_with_ranges_or_choices_only(parameters: tuple, tmp_path: Path) -> None:
    sql = block(render_card(manifest_of(*parameters)), "sql")
    assert "read_parquet(['../first/shards/*.parquet', 'shards/*.parquet'])" in sql
    name = parameters[0].name.replace('"', '""')
    duckdb.sql(f"""COPY (SELECT 1 AS "{name}") TO '{tmp_path}/a.parquet'""")
    sql = re.sub(r"\[.*\]", f"'{tmp_path}/a.parquet'", sql)
    assert duckdb.sql(sql).fetchall() in ([(1, 1.0)], [(1, 1)])


def test_card_tables_survive_any_name() -> None:
    odd = ["a|b", "line\nbreak", "`tick`", "<b>bold", "*star*", "x  y", "ünï-コード"]
    tricky = (Range(odd[0]), Range(odd[1]), Choice(odd[2], ("p|q", "<i>", "_r_")), Range(odd[3]), Constant(odd[4], 1.0))
    card = render_card(manifest_of(*tricky, Range(odd[5]), Range(odd[6]), skipped=(Skipped("a\nb", "<x> | *y*"),)))
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 6 + 2 + 1
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [6] * 8 + [4] * 3
    assert "`` `tick` ``" in card
    assert "p\\|q 33%, &lt;i&gt; 33%, \\_r\\_ 33%" in card
    assert "- `a b`: &lt;x&gt; \\| \\*y\\*" in card


def test_parameter_rows_state_a_log_range_in_its_unit() -> None:
    [row] = parameter_rows(manifest_of(Range("a", 20, 2000, "log", "Hz")))
    assert row[:4] == ("a", "20 to 2000 Hz, log", "0.250", "0.125")


def test_card_distinguishes_presets_from_features() -> None:
    features, presets = (render_card(manifest_of(Range("a"), content=content)) for content in ("features", "presets"))
    assert "`features`, 3 x 4 float16 in row-major order" in features
    assert "`noise_seed`" not in features
    assert "`noise_seed`, which synthray needs to render the sound" in presets
    assert "3 x 4 float16, rendered on reading" in presets


def test_facts_list_every_part_of_the_source() -> None:
    parts = [{"kind": "synth", "seed": 3, "batches": 9, "digest": "0123456789abcdef"}, {"kind": "notebook"}]
    first = "synth, seed 3, batches 9, digest 0123456789ab…"
    assert facts(manifest_of(Range("a"), source=parts[0]))["source"] == first
    appended = manifest_of(Range("a"), source={"kind": "appended", "parts": parts, "digest": "ab"})
    assert facts(appended)["source"] == f"{first} + notebook"


def test_histograms_become_bars() -> None:
    assert sparkline([0, 1, 50, 99, 100, 0]) == "▁▂▅██▁"
    assert sparkline([0, 0]) == "▁▁"
    for largest in np.random.default_rng(0).random(1000).tolist():
        assert sparkline([largest, 0.0]) == "█▁"
    [row] = parameter_rows(manifest_of(Range("a")))
    assert row[-1] == "█" + "▁" * 18 + "▃ and 2 below 0, 1 above 1"
    assert loudness_lines(manifest_of(Range("a"))) == [
        f" below -100 dBFS          1  {'█' * 10}",
        "-100 to -95 dBFS          0",
        f" -95 to -90 dBFS          4  {'█' * 40}",
        " -90 to -85 dBFS          0",
        f" -85 to -80 dBFS          4  {'█' * 40}",
    ]
    one = {"from_dbfs": -100, "step_db": 5, "below": 0, "counts": [0] * 19 + [2]}
    assert loudness_lines(manifest_of(Range("a"), loudness=one)) == [f"    from -5 dBFS          2  {'█' * 40}"]
    many = Choice("c", tuple("abcdefghijklmnop"))
    assert parameter_rows(manifest_of(many))[0][-1].endswith("l 6% and 4 more")


def picture(features: np.ndarray) -> np.ndarray:
    png = contact_sheet(features, [""] * len(features))
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"), np.float64)


def test_contact_sheet_axes_and_brightness() -> None:
    features = np.full((3, 20, 50), 1e-9)
    features[0, :, -5:], features[1, -2:], features[2, 0, 0] = 1.0, 1.0, 1.0
    high, late, click = (picture(features[i : i + 1])[16:216, 16:256] for i in range(3))
    assert high[:15].min() > 240
    assert high[25:].max() < 10
    assert late[:, -20:].min() > 240
    assert late[:, :-30].max() < 10
    assert click[-2:, :10].min() > 240
    halves = picture(np.geomspace(1e-3, 1, 20)[None, :, None] * np.ones((1, 20, 5)))[16:216, 16:256]
    assert (np.diff(halves[100, 6::12]) > 0).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 700, 2), (8, 2, 3000), (9, 20, 551)])
def test_contact_sheet_draws_features_of_any_shape(shape: tuple[int, int, int]) -> None:
    features = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    assert picture(features).shape == (16 + -(-shape[0] // 4) * 236, 16 + min(shape[0], 4) * 256)
    assert picture(np.zeros(shape)).max() < 30  # silence is dark
    assert picture(np.full(shape, 1e300)).max() > 240


def test_example_rows_are_spread_evenly_over_the_first_shard() -> None:
    manifest = manifest_of(Range("a"))
    assert card_module._example_rows(manifest).tolist() == [0, 1, 2, 3, 4]
    longer = replace(manifest, shards=(replace(manifest.shards[0], rows=71), manifest.shards[1]))
    assert card_module._example_rows(longer).tolist() == [0, 10, 20, 30, 40, 50, 60, 70]
