"""Evaluation on Ray against the same scores computed in this process."""

import re
import shutil

import numpy as np
import pytest

from synthray.data.open import open_dataset
from synthray.errors import CorruptShard
from synthray.evaluate.parts import cut, evaluate_part
from synthray.evaluate.scores import Sums, constant_guess, scores
from tests.conftest import convert_here
from tests.foreign import BINS, FRAMES, write
from tests.models import build_card, build_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """URIs of a model that held out rows 100 to 202, and of its data set."""
    from synthray.model.saved import save_model

    folder = tmp_path_factory.mktemp("evaluate")
    manifest = convert_here(write(folder / "source"), folder / "data")
    shape = (FRAMES, BINS)
    dataset = {"uri": f"{folder}/data", "digest": manifest.digest, "holdout": {"first": 100, "count": 103}}
    card = build_card(manifest.table, shape, dataset=dataset)
    return save_model(build_model(manifest.table, shape), f"{folder}/model", card), f"{folder}/data"


def scores_here(model, data, first, last):
    """Return the scores of a model, and those of chance."""
    from synthray.model.predictor import Predictor

    dataset, predictor = open_dataset(data), Predictor.load(model)
    table = dataset.manifest.table
    guess = constant_guess(table, dataset.manifest.statistics)
    parts = [evaluate_part([predictor], dataset, part, guess, None) for part in cut(dataset.manifest, first, last)]
    sums = sum((part.sums for part in parts), Sums.zero(table, 2))
    return scores(table, sums, 0), scores(table, sums, 1)


def test_evaluate_part_equals_the_scores_of_its_examples(trained):
    from synthray.model.predictor import Predictor

    model, data = trained
    dataset, predictor = open_dataset(data), Predictor.load(model)
    examples = dataset.take(np.arange(100, 203))
    predicted = predictor.labels(np.asarray(examples.features, np.float32), clip=False)
    found, _ = scores_here(model, data, 100, 203)
    assert len(found) == 4
    error = np.abs(examples.labels[:, 1] - predicted[:, 1]).mean()
    assert found[1].over_all.value == pytest.approx(error, rel=1e-5)
    assert found[0].over_all.value == pytest.approx((examples.labels[:, 0] == predicted[:, 0]).mean())


@pytest.mark.ray
def test_evaluate_scores_the_holdout_as_in_this_process(ray_cluster, trained, capsys):
    from synthray.cluster.evaluation import evaluate

    model, data = trained
    evaluation = evaluate([model, model], data, sounds=10)
    assert (evaluation.examples, evaluation.rows) == ("holdout", 103)
    assert (evaluation.models, evaluation.knows_audible) == ({"model_2_1": model}, False)
    assert evaluation.distances is None  # the sounds are not those of the instrument
    assert re.search(r"evaluating: (\d+) of \1 shards", capsys.readouterr().err)
    expected = dict(zip(("model_2_1", "chance"), scores_here(model, data, 100, 203), strict=True))
    assert evaluation.scores.keys() == expected.keys()
    for name, found in evaluation.scores.items():
        for score, here in zip(found.parameters, expected[name], strict=True):
            assert (score.name, score.kind) == (here.name, here.kind)
            assert list(score.over_all.to_json().values()) == pytest.approx(list(here.over_all.to_json().values()))


@pytest.mark.ray
def test_evaluate_of_a_corrupt_shard_raises_the_original_error(ray_cluster, trained, tmp_path):
    from synthray.cluster.evaluation import evaluate

    shutil.copytree(trained[1], tmp_path / "data")
    for shard in (tmp_path / "data").rglob("*.parquet"):
        shard.write_bytes(shard.read_bytes() + b"x")
    with pytest.raises(CorruptShard, match="has changed since it was published") as raised:
        evaluate([trained[0]], str(tmp_path / "data"), sounds=0)
    assert type(raised.value) is CorruptShard
    assert "Failed to apply UDF" not in str(raised.value)
