"""Score a model on a data set, parameter by parameter, beside always guessing the same.

    python jobs/evaluate.py
    python jobs/evaluate.py --model s3://bucket/models/model_9_20.keras --data s3://bucket/data/first --out report
    ray job submit --working-dir . -- python jobs/evaluate.py

With no flags it takes the newest model and the newest data set under SYNTHRAY_HOME. Only the examples that were kept
from training are scored when the model was trained on this data set. Writes evaluation.json.
"""

from __future__ import annotations

import argparse
import json
import sys

from synthray.command import run
from synthray.data.dataset import newest_dataset
from synthray.data.storage import Store
from synthray.model.artifact import resolve_model

REPORT = "evaluation.json"


def main(arguments: argparse.Namespace) -> None:
    model = resolve_model(arguments.model)
    data = arguments.data or newest_dataset()

    from synthray.evaluate.ray_evaluate import evaluate

    evaluation = evaluate(model, data, _progress)
    store = Store.at(arguments.out) if arguments.out else Store.at(model).parent()[0]
    store.write(REPORT, (json.dumps(evaluation.to_json(), indent=1) + "\n").encode())
    print(evaluation.to_text())
    print(f"\nwritten to {store.uri}/{REPORT}")


def _progress(done: int, of: int) -> None:
    end = "\r" if sys.stderr.isatty() and done < of else "\n"
    print(f"{done} of {of} shards scored", file=sys.stderr, end=end, flush=True)


def parser() -> argparse.ArgumentParser:
    summary, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        "evaluate.py", description=summary, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="", metavar="URI", help="a .keras file, or a directory: its newest")
    parser.add_argument("--data", default="", metavar="URI", help="the data set")
    parser.add_argument("--out", default="", metavar="URI", help="directory for the report (default: the model's)")
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
