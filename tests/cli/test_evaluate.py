"""``synthray evaluate``: which model and data it takes, and the report that it writes. Nothing is scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from synthray.cli.main import main
from tests import foreign
from tests.conftest import convert_here


class Report:
    def to_json(self) -> dict[str, float]:
        return {"score": 0.5}

    def to_text(self) -> str:
        return "score 0.5"


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Model and data set of each evaluation."""
    started: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "synthray.cluster.evaluation.evaluate",
        lambda model, data, *, verbose: started.append((model, data)) or Report(),
    )
    return started


def test_evaluate_without_flags_takes_the_newest_model_and_data(
    home: Path, files: Path, evaluations: list[tuple[str, str]], capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(files / "models", home / "models")
    convert_here(foreign.write(home / "source"), home / "data" / "mine")
    assert main(["evaluate"]) == 0
    assert evaluations == [(f"{home}/models/model_2_1.keras", f"{home}/data/mine")]
    assert json.loads((home / "models" / "evaluation.json").read_text()) == {"score": 0.5}
    assert capsys.readouterr().out == f"score 0.5\n\nwrote {home}/models/evaluation.json\n"


def test_evaluate_takes_the_data_set_that_the_card_names(
    home: Path, files: Path, dataset_uri: str, evaluations: list[tuple[str, str]]
) -> None:
    shutil.copytree(files / "models", home / "models")
    card = json.loads((home / "models" / "model_2_1.json").read_text())
    card["dataset"] = {"uri": dataset_uri}
    (home / "models" / "model_2_1.json").write_text(json.dumps(card))
    assert main(["evaluate", "--out", f"{home}/report"]) == 0
    assert [data for _, data in evaluations] == [dataset_uri]
    assert (home / "report" / "evaluation.json").exists()
