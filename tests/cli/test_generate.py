"""``synthray generate``: flags, output folders and what is printed. No sound is rendered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from synthray.cli.main import main
from synthray.data.build.generate_config import FORMATS, GenerateConfig

pytestmark = pytest.mark.usefixtures("no_cluster")


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> list[GenerateConfig]:
    """The configurations that the command passes on; two batches of each are new."""
    configs: list[GenerateConfig] = []
    monkeypatch.setattr("synthray.cluster.build.generate", lambda config: configs.append(config) or 2)
    return configs


def test_generate_without_flags_has_the_defaults_of_its_config(home: Path, generated: list[GenerateConfig]) -> None:
    assert main(["generate"]) == 0
    assert generated == [GenerateConfig(f"{home}/batches/9-batches-seed-0")]


def test_generate_reports_batches_that_existed(
    home: Path, generated: list[GenerateConfig], capsys: pytest.CaptureFixture
) -> None:
    assert main(["generate", "--batches", "4", "--seed", "5", "--out", f"{home}/mine"]) == 0
    assert capsys.readouterr().out == f"4 batches, 128 sounds (2 batches existed already), at {home}/mine\n"
    assert generated == [GenerateConfig(f"{home}/mine", batches=4, seed=5)]


@pytest.mark.parametrize(
    ("flags", "folder"),
    [
        ([], "data/9-batches-seed-0"),
        (["--reject-silent"], "data/9-batches-seed-0-above-60dBFS"),
        (["--reject-silent", "-40"], "data/9-batches-seed-0-above-40dBFS"),
        (["--prior", "musical:0.50"], "data/9-batches-seed-0-musical-0.5"),
        (["--content", "presets"], "data/9-batches-seed-0-presets"),
        (["--dtype", "float16", "--batches", "3"], "data/3-batches-seed-0-float16"),
        (["--append", "{home}/data/first"], "data/first+9-batches-seed-0"),
    ],
)
def test_generate_names_the_data_set_after_its_settings(
    home: Path, flags: list[str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outs: list[str] = []
    monkeypatch.setattr("synthray.cluster.build.build", lambda _source, config, _activity: outs.append(config.out))
    monkeypatch.setattr("synthray.data.card.summary.in_one_line", lambda *_: "")
    monkeypatch.setattr(GenerateConfig, "source", lambda _: None)
    assert main(["generate", "--format", "parquet", *(flag.format(home=home) for flag in flags)]) == 0
    assert outs == [f"{home}/{folder}"]


def test_generate_help_states_the_defaults_and_choices_of_its_config(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["generate", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name in ("batches", "seed", "prior", "format", "content", "dtype"):
        default = re.search(rf" --{name} .*?\(default: (\S+?)\)", text)
        assert default
        assert default[1] == str(getattr(GenerateConfig, name))
    assert f"--format {{{','.join(FORMATS)}}}" in text
