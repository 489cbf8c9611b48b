"""``synthray convert``: which batches it takes and what it prints. Without Ray."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthray.cli.main import main
from synthray.data.build.plan import BuildConfig
from synthray.data.manifest import Manifest
from tests import foreign
from tests.conftest import convert_here

pytestmark = pytest.mark.usefixtures("no_cluster")


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(source: str, config: BuildConfig) -> Manifest:
        options = {"dtype": config.dtype, "skip_bad": config.skip_bad, "append": config.append}
        return convert_here(source, config.out, **options)

    monkeypatch.setattr("synthray.cluster.build.convert", convert)


def test_convert_without_flags_takes_the_newest_batches_at_home(home: Path, capsys: pytest.CaptureFixture) -> None:
    foreign.write(home / "batches" / "mine")
    assert main(["convert"]) == 0
    assert "203 examples in" in (printed := capsys.readouterr().out)
    assert f"{home}/data/mine" in printed
    assert (home / "data" / "mine" / "manifest.json").exists()


def test_convert_append_names_the_data_set_after_both(home: Path) -> None:
    foreign.write(home / "first")
    assert main(["convert", "--source", f"{home}/first"]) == 0
    foreign.write(home / "second", batches=3)
    assert main(["convert", "--source", f"{home}/second", "--append", f"{home}/data/first"]) == 0
    assert (home / "data" / "first+second" / "manifest.json").exists()


def test_convert_bad_batch_fails_and_is_skipped_on_request(home: Path, capsys: pytest.CaptureFixture) -> None:
    source = foreign.write(home / "batches" / "mine")
    (source / "fft" / "fft_batch_5.npy").write_bytes(b"torn")
    assert main(["convert"]) == 1
    assert "fft/fft_batch_5.npy: " in capsys.readouterr().err
    assert not (home / "data" / "mine" / "manifest.json").exists()
    assert main(["convert", "--skip-bad"]) == 0
    assert "skipped fft/fft_batch_5.npy: " in capsys.readouterr().out
