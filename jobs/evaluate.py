"""Score a model on a data set, parameter by parameter, beside always guessing the same.

    python jobs/evaluate.py
    python jobs/evaluate.py --model s3://bucket/models/model_9_20.keras --data s3://bucket/data/first --out report
    ray job submit --working-dir . -- python jobs/evaluate.py

With no flags it takes the newest model under SYNTHRAY_HOME and the data set that it was trained on. Of that one
only the examples are scored that were kept from training. Writes evaluation.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys

from synthray.cli.runner import job_parser, run
from synthray.data.open import newest_dataset, open_dataset
from synthray.errors import ConfigError, NotFound
from synthray.model.saved import read_card, resolve_model
from synthray.storage import open_parent, open_store

REPORT = "evaluation.json"


def main(arguments: argparse.Namespace) -> None:
    model = resolve_model(arguments.model)
    data = arguments.data or _data_of(model)

    from synthray.cluster.evaluation import evaluate

    evaluation = evaluate(model, data, verbose=arguments.verbose)
    store = open_store(arguments.out) if arguments.out else open_parent(model)[0]
    store.write(REPORT, (json.dumps(evaluation.to_json(), indent=1) + "\n").encode())
    print(evaluation.to_text())
    print(f"\nwritten to {store.uri}/{REPORT}")


def _data_of(model: str) -> str:
    """The data set that the model was trained on, or the newest where that is gone."""
    with contextlib.suppress(NotFound, ConfigError):  # it is gone, or the card names none
        return open_dataset(read_card(model).dataset.get("uri", "")).uri
    return newest_dataset()


def parser() -> argparse.ArgumentParser:
    parser = job_parser(__file__, __doc__)
    parser.add_argument("--model", default="", metavar="URI", help="a .keras file, or a directory: its newest")
    parser.add_argument("--data", default="", metavar="URI", help="the data set")
    parser.add_argument("--out", default="", metavar="URI", help="directory for the report (default: the model's)")
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
