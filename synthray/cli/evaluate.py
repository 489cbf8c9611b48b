"""The ``synthray evaluate`` command. The work is in ``synthray.cluster.evaluation`` and ``synthray.evaluate``."""

from __future__ import annotations

import contextlib
import json
from argparse import ArgumentParser, Namespace

from synthray.cli.runner import set_up
from synthray.data.open import newest_dataset, open_dataset
from synthray.errors import ConfigError, NotFound
from synthray.storage import open_parent, open_store

DESCRIPTION = """\
Score a model on a data set, for each parameter, against a baseline that always guesses the same value.
Without flags it takes the newest model under SYNTHRAY_HOME and the data set that it was trained on.
Of that data set it scores only the held-out examples. Writes evaluation.json."""
EXAMPLES = """
synthray evaluate
synthray evaluate --model s3://bucket/models/model_9_20.keras --data s3://bucket/data/first --out report
ray job submit --working-dir . -- python jobs/evaluate.py
"""
REPORT = "evaluation.json"


def configure(parser: ArgumentParser) -> None:
    """Add the command's flags."""
    set_up(parser, evaluate, DESCRIPTION, EXAMPLES)
    parser.add_argument("--model", default="", metavar="URI", help="a .keras file, or a folder: its newest model")
    parser.add_argument(
        "--data", default="", metavar="URI", help="URI of the data set (default: the model's own, or the newest)"
    )
    parser.add_argument("--out", default="", metavar="URI", help="folder for the report (default: the model's)")


def evaluate(arguments: Namespace) -> None:
    """Score a model, print the report and write it."""
    from synthray.model.saved import resolve_model

    model = resolve_model(arguments.model)
    data = arguments.data or _training_data(model)

    from synthray.cluster import evaluation

    report = evaluation.evaluate(model, data, verbose=arguments.verbose)
    store = open_store(arguments.out) if arguments.out else open_parent(model)[0]
    store.write(REPORT, (json.dumps(report.to_json(), indent=1) + "\n").encode())
    print(report.to_text())
    print(f"\nwrote {store.uri}/{REPORT}")


def _training_data(model: str) -> str:
    """Return the data set of the model's card, or the newest if it is gone."""
    from synthray.model.saved import read_card

    with contextlib.suppress(NotFound, ConfigError):
        return open_dataset(read_card(model).dataset.get("uri", "")).uri
    return newest_dataset()
