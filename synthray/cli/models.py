"""The ``synthray models`` commands. The registry is in ``synthray.model.registry``."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser, Namespace
from datetime import datetime
from typing import Any

from synthray.cli.outputs import require_kept
from synthray.cli.runner import add_to_group, print_columns, set_up_group
from synthray.errors import NotFound
from synthray.model.entries import ModelEntry
from synthray.model.registry import (
    Change,
    default_registry,
    find_model,
    list_models,
    promote,
    registry_of,
    rollback,
    served_model,
)
from synthray.model.saved import SUFFIX, ModelCard
from synthray.model.shipped import is_shipped
from synthray.storage import open_store

DESCRIPTION = "List and show models, and choose the one that is served."
EXAMPLES = """
synthray models ls
synthray models ls s3://bucket/synthray/models
synthray models show
synthray models show s3://bucket/synthray/models/first/model_9_20.keras
synthray models show s3://bucket/synthray/models/first/model_9_20.keras --json
synthray models promote ~/.synthray/models/9-batches-seed-0/model_9_20.keras
synthray models promote s3://bucket/models/first/model_9_20.keras --registry s3://bucket/models
synthray models rollback
synthray models rollback --registry s3://bucket/models
"""

_LS_COLUMNS = ("name", "version", "number", "epochs", "val_loss", "size", "sha256", "saved", "promoted")
_TIME_FORMAT = "%Y-%m-%dT%H:%M"


def configure(parser: ArgumentParser) -> None:
    """Add the commands and their flags."""
    group = set_up_group(parser, DESCRIPTION, EXAMPLES)
    folder = "a folder of models (default: models under SYNTHRAY_HOME)"
    command = add_to_group(group, "ls", list_all, EXAMPLES)
    command.add_argument("uri", nargs="?", default="", metavar="URI", help=folder)
    command = add_to_group(group, "show", show_model, EXAMPLES)
    command.add_argument("uri", nargs="?", default="", metavar="URI", help=f"a {SUFFIX} file, shipped, or {folder}")
    command.add_argument("--json", action="store_true", help="print JSON with the complete card")
    command = add_to_group(group, "promote", promote_model, EXAMPLES)
    command.add_argument("uri", metavar="URI", help=f"a {SUFFIX} file")
    default = "models under SYNTHRAY_HOME if the model is there, else the model's own folder"
    serving = f"the folder from which the service takes its model (default: {default})"
    command.add_argument("--registry", default="", metavar="URI", help=serving)
    command = add_to_group(group, "rollback", roll_back, EXAMPLES)
    command.add_argument("--registry", default="", metavar="URI", help=folder)


def list_all(arguments: Namespace) -> None:
    """List the models in a folder, newest last, with their numbers, and mark the promoted one."""
    registry = arguments.uri or default_registry()
    models = list_models(registry)
    if not models:
        raise NotFound(f"{open_store(registry).uri}: no model here. Make one with `synthray train`.")
    print_columns([_LS_COLUMNS, *map(_cells, models)], right=(2, 3, 4, 5))


def _cells(model: ModelEntry) -> tuple[str, ...]:
    """Return one cell per column.

    An unusable model has fewer cells, and the last one gives the reason.
    """
    if model.problem or model.card is None:
        return model.name, model.version, f"promoted, but {model.problem}" if model.promoted_at else model.problem
    card = model.card
    return (
        model.name,
        model.version,
        str(model.number),
        str(card.epochs),
        _number(card.metrics.get("val_loss", "?")),
        f"{model.size / 1e6:,.1f} MB",
        card.sha256[:12],
        time.strftime(_TIME_FORMAT, time.localtime(model.modified_s)),
        _local_time(model.promoted_at),
    )


def show_model(arguments: Namespace) -> None:
    """Print what a model's card says. For a folder, show the model that it serves."""
    uri = served_model(arguments.uri)
    is_alone = arguments.uri.endswith(SUFFIX) or is_shipped(uri)
    registry = registry_of(uri) if is_alone else open_store(arguments.uri or default_registry()).uri
    model = find_model(uri, registry)
    if model.card is None:
        raise NotFound(f"{uri}: {model.problem}")
    if arguments.json:
        print(json.dumps(_as_json(model, registry, model.card), indent=1, ensure_ascii=False))
        return
    for name, value in _as_lines(model, registry, model.card).items():
        print(f"{name:<10}  {value}")


def _as_json(model: ModelEntry, registry: str, card: ModelCard) -> dict[str, Any]:
    return {
        "uri": model.uri,
        "name": model.name,
        "version": model.version,
        "number": model.number,
        "registry": registry,
        "size": model.size,
        "modified_s": model.modified_s,
        "promoted_at": model.promoted_at or None,
        "problem": model.problem,
        "card": json.loads(card.encode()),
    }


def _as_lines(model: ModelEntry, registry: str, card: ModelCard) -> dict[str, str]:
    config = {key: value for key, value in card.config.items() if key not in ("data", "out", "epochs")}
    held_out = card.dataset.get("holdout", {})
    saved = time.strftime(_TIME_FORMAT, time.localtime(model.modified_s))
    return {
        "model": model.uri,
        "name": model.name,
        "version": f"{model.version}, number {model.number} in {registry}",
        "promoted": _promotion(model, registry),
        "data set": card.dataset.get("uri", "?"),
        "digest": card.dataset.get("digest", "?"),
        "held out": f"{held_out['count']:,} examples from {held_out['first']:,} on" if held_out else "?",
        "training": ", ".join([f"epochs {card.epochs}", *(f"{key} {value}" for key, value in config.items())]),
        "metrics": ", ".join(f"{key} {_number(value)}" for key, value in card.metrics.items()),
        "features": " x ".join(map(str, card.feature_shape)),
        "parameters": f"{len(card.table)}, of which {len(card.table.learned)} are learned",
        "file": f"{model.size / 1e6:,.1f} MB, saved {saved}",
        "sha256": card.sha256,
    }


def _promotion(model: ModelEntry, registry: str) -> str:
    if not model.promoted_at:
        return f"no, not in {registry}"
    return f"{_local_time(model.promoted_at)} in {registry}{f', but {model.problem}' if model.problem else ''}"


def promote_model(arguments: Namespace) -> None:
    """Make a folder serve one of its models; services switch within seconds."""
    if not arguments.registry:
        require_kept("URI", arguments.uri)
    _report(promote(arguments.uri, arguments.registry))


def roll_back(arguments: Namespace) -> None:
    """Make a folder serve the previously promoted model again."""
    _report(rollback(arguments.registry))


def _report(change: Change) -> None:
    if change.before == change.now:
        print(f"{change.registry} already serves {change.now.model}, since {_local_time(change.now.promoted_at)}")
        return
    before = f", before {change.before.model}" if change.before else ""
    print(f"{change.registry} now serves {change.now.model}{before}")


def _local_time(promoted_at: str) -> str:
    """Return an ISO time in the local time zone, or the text if it is no time."""
    try:
        return datetime.fromisoformat(promoted_at).astimezone().strftime(_TIME_FORMAT)
    except ValueError:
        return promoted_at


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
