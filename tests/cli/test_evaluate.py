"""``synthray evaluate``: which models and data it takes, and the report that it writes. Nothing is scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from synthray.cli.main import main
from synthray.model.shipped import shipped_model
from tests import foreign
from tests.cli.conftest import assert_fails
from tests.conftest import convert_here


class Report:
    distances = None

    def to_json(self) -> dict[str, float]:
        return {"score": 0.5}


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], str, int]]:
    """Models, data set and number of sounds of each evaluation."""
    started: list[tuple[list[str], str, int]] = []
    monkeypatch.setattr(
        "synthray.cluster.evaluation.evaluate",
        lambda models, data, *, sounds, refine_s, verbose: started.append((models, data, sounds)) or Report(),
    )
    monkeypatch.setattr("synthray.evaluate.text.to_text", lambda report: "score 0.5")
    return started


def test_evaluate_without_flags_takes_the_newest_model_and_data(
    home: Path, files: Path, evaluations: list[tuple[list[str], str, int]], capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(files / "models", home / "models")
    convert_here(foreign.write(home / "source"), home / "data" / "mine")
    assert main(["evaluate"]) == 0
    assert evaluations == [([f"{home}/models/model_2_1.keras"], f"{home}/data/mine", 1000)]
    assert json.loads((home / "models" / "evaluation.json").read_text()) == {"score": 0.5}
    assert capsys.readouterr().out == f"score 0.5\n\nwrote {home}/models/evaluation.json\n"


def test_evaluate_takes_the_data_set_that_the_card_names(
    home: Path, files: Path, dataset_uri: str, evaluations: list[tuple[list[str], str, int]]
) -> None:
    shutil.copytree(files / "models", home / "models")
    card = json.loads((home / "models" / "model_2_1.json").read_text())
    card["dataset"] = {"uri": dataset_uri}
    (home / "models" / "model_2_1.json").write_text(json.dumps(card))
    assert main(["evaluate", "--out", f"{home}/report"]) == 0
    assert [data for _, data, _ in evaluations] == [dataset_uri]
    assert (home / "report" / "evaluation.json").exists()


def test_evaluate_takes_several_models_and_writes_next_to_the_first(
    home: Path, files: Path, dataset_uri: str, evaluations: list[tuple[list[str], str, int]]
) -> None:
    for name in ("old", "new"):
        shutil.copytree(files / "models", home / name)
    models = ["--model", str(home / "new"), "--model", f"{home}/old/model_2_1.keras"]
    assert main(["evaluate", *models, "--data", dataset_uri, "--sounds", "20"]) == 0
    uris = [f"{home}/new/model_2_1.keras", f"{home}/old/model_2_1.keras"]
    assert evaluations == [(uris, dataset_uri, 20)]
    assert (home / "new" / "evaluation.json").exists()
    assert not (home / "old" / "evaluation.json").exists()


def test_evaluate_compares_a_model_with_the_one_of_the_package(
    home: Path, files: Path, dataset_uri: str, evaluations: list[tuple[list[str], str, int]]
) -> None:
    shutil.copytree(files / "models", home / "models")
    assert main(["evaluate", "--model", str(home / "models"), "--model", "shipped", "--data", dataset_uri]) == 0
    assert [models for models, *_ in evaluations] == [[f"{home}/models/model_2_1.keras", shipped_model()]]


def test_evaluate_of_the_packages_model_needs_a_folder_of_its_own_for_the_report(
    home: Path, dataset_uri: str, evaluations: list[tuple[list[str], str, int]], capsys: pytest.CaptureFixture
) -> None:
    flags = ["evaluate", "--model", "shipped", "--data", dataset_uri]
    assert_fails(flags, 2, "next to the first model, which is synthray's own. Give --out FOLDER.", capsys)
    assert main([*flags, "--out", f"{home}/report"]) == 0
    assert [models for models, *_ in evaluations] == [[shipped_model()]]
    assert (home / "report" / "evaluation.json").exists()


@pytest.mark.faults
def test_evaluate_without_distances_leaves_no_page_of_an_earlier_evaluation(
    home: Path, files: Path, dataset_uri: str, evaluations: list[tuple[list[str], str, int]]
) -> None:
    out = home / "report"
    out.mkdir()
    for name in ("evaluation.json", "evaluation.html"):
        (out / name).write_text("of an earlier one")
    flags = ["--model", str(files / "models"), "--data", dataset_uri, "--sounds", "0", "--out", str(out)]
    assert main(["evaluate", *flags]) == 0
    assert [path.name for path in out.iterdir()] == ["evaluation.json"]
    assert json.loads((out / "evaluation.json").read_text()) == {"score": 0.5}


def test_evaluate_of_a_negative_search_time_fails(home: Path, capsys: pytest.CaptureFixture) -> None:
    assert_fails(["evaluate", "--refine", "-1"], 2, "--refine is -1.0. Give a number of seconds, 0 or more.", capsys)


def test_evaluate_of_a_negative_number_of_sounds_fails(home: Path, capsys: pytest.CaptureFixture) -> None:
    assert_fails(["evaluate", "--sounds", "-1"], 2, "--sounds is -1. Give 0 or more.", capsys)
