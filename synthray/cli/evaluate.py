"""The ``synthray evaluate`` command. The work is in ``synthray.cluster.evaluation`` and ``synthray.evaluate``."""

from __future__ import annotations

import contextlib
import json
from argparse import ArgumentParser, Namespace

from synthray.cli.flags import require_seconds
from synthray.cli.outputs import require_kept
from synthray.cli.runner import set_up
from synthray.data.open import newest_dataset, open_dataset
from synthray.errors import ConfigError, NotFound
from synthray.storage import open_parent, open_store
from synthray.storage.together import write_together

DESCRIPTION = """\
Evaluate models on a data set. Score each parameter, and compare the score with chance. Measure distances between sounds
and their matches, and compare them with four other answers: the mean preset, a random preset, the nearest of
20,000 random presets, and the true preset with other noise.
Without flags it takes the newest model under SYNTHRAY_HOME and the data set that it was trained on.
Of that data set it takes only the held-out examples.
Writes evaluation.json and evaluation.html, and replaces the files of an earlier evaluation."""
EXAMPLES = """
synthray evaluate
synthray evaluate --model s3://bucket/models/model_9_20.keras --data s3://bucket/data/first --out report
synthray evaluate --model models/old/model_9_20.keras --model models/new/model_9_20.keras --sounds 200
synthray evaluate --model models/new/model_9_20.keras --model shipped
ray job submit --working-dir . -- python jobs/evaluate.py
"""
REPORT, PAGE = "evaluation.json", "evaluation.html"
SOUNDS = 1000


def configure(parser: ArgumentParser) -> None:
    """Add the command's flags."""
    set_up(parser, evaluate, DESCRIPTION, EXAMPLES)
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="URI",
        help="a .keras file, a folder for its newest model, or `shipped` for the model of the package; "
        "may be repeated to compare models",
    )
    parser.add_argument(
        "--data", default="", metavar="URI", help="data set (default: the first model's data set, or the newest)"
    )
    parser.add_argument("--out", default="", metavar="URI", help="report folder (default: the first model's folder)")
    parser.add_argument(
        "--sounds",
        type=int,
        default=SOUNDS,
        metavar="N",
        help="measure distances on at most N sounds; 0 measures none (default: %(default)s)",
    )
    parser.add_argument(
        "--refine",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="also search for a better preset of each of these sounds, SECONDS long (default: %(default)s)",
    )


def evaluate(arguments: Namespace) -> None:
    """Evaluate models, print the report and write it."""
    from synthray.model.saved import resolve_model
    from synthray.model.shipped import is_shipped

    require_seconds("--refine", arguments.refine)
    if arguments.sounds < 0:
        raise ConfigError(f"--sounds is {arguments.sounds}. Give 0 or more.")
    if not arguments.out:
        require_kept("--model", arguments.model[0] if arguments.model else None)
    models = [resolve_model(model) for model in arguments.model or [""]]
    if is_shipped(models[0]) and not arguments.out:
        raise ConfigError("The report is written next to the first model, which is synthray's own. Give --out FOLDER.")
    data = arguments.data or _training_data(models[0])

    from synthray.cluster import evaluation
    from synthray.evaluate.html.page import render_report
    from synthray.evaluate.text import to_text

    report = evaluation.evaluate(
        models, data, sounds=arguments.sounds, refine_s=arguments.refine, verbose=arguments.verbose
    )
    store = open_store(arguments.out) if arguments.out else open_parent(models[0])[0]
    print(to_text(report))
    page = render_report(report).encode() if report.distances else None
    # If there is no page, the page of an earlier evaluation is deleted.
    write_together(store, {PAGE: page, REPORT: (json.dumps(report.to_json(), indent=1) + "\n").encode()})
    print(f"\nwrote {store.uri}/{REPORT}")
    if page:
        print(f"wrote {store.uri}/{PAGE}, a page to listen to")


def _training_data(model: str) -> str:
    """Return the data set of the model's card, or the newest if it is gone."""
    from synthray.model.saved import read_card

    with contextlib.suppress(NotFound, ConfigError):
        return open_dataset(read_card(model).dataset.get("uri", "")).uri
    return newest_dataset()
