"""``synthray models …``: what models there are, what they are, and which of them the service answers with."""

from __future__ import annotations

import json
import time
from argparse import Namespace, RawDescriptionHelpFormatter
from datetime import datetime
from typing import Any

from synthray.cli.runner import add_command, print_columns
from synthray.errors import NotFound
from synthray.model.registry import (
    Change,
    ModelEntry,
    default_registry,
    find_model,
    list_models,
    promote,
    registry_of,
    rollback,
    served_model,
)
from synthray.model.saved import SUFFIX, ModelCard
from synthray.serve.encode import model_version
from synthray.storage import open_store

EXAMPLES = """\
examples:
  synthray models ls
  synthray models ls s3://bucket/synthray/models
  synthray models show
  synthray models show s3://bucket/synthray/models/first/model_9_20.keras
  synthray models show s3://bucket/synthray/models/first/model_9_20.keras --json
  synthray models promote ~/.synthray/models/9-batches-seed-0/model_9_20.keras
  synthray models promote s3://bucket/models/first/model_9_20.keras --place s3://bucket/models
  synthray models rollback
  synthray models rollback s3://bucket/models
"""

_LS_COLUMNS = ("name", "version", "epochs", "val_loss", "size", "sha256", "saved", "promoted")
_TIME = "%Y-%m-%dT%H:%M"


def list_all(arguments: Namespace) -> None:
    """List the models in a folder, the newest last, and which of them is promoted; a damaged one is told as such."""
    place = arguments.uri or default_registry()
    models = list_models(place)
    if not models:
        raise NotFound(f"{open_store(place).uri} holds no model; jobs/train.py makes one")
    print_columns([_LS_COLUMNS, *map(_cells, models)], right=(2, 3, 4))


def _cells(model: ModelEntry) -> tuple[str, ...]:
    """As many as there are columns; of one that cannot be served fewer, the last of which says why."""
    if model.problem or model.card is None:
        return model.name, model.version, f"promoted, but {model.problem}" if model.promoted_at else model.problem
    card = model.card
    return (
        model.name,
        model.version,
        str(card.epochs),
        _number(card.metrics.get("val_loss", "?")),
        f"{model.size / 1e6:,.1f} MB",
        card.sha256[:12],
        time.strftime(_TIME, time.localtime(model.modified_s)),
        _here(model.promoted_at),
    )


def show_model(arguments: Namespace) -> None:
    """Print what a model is, from its card; of a folder the one that it serves."""
    uri = served_model(arguments.uri)
    place = registry_of(uri) if arguments.uri.endswith(SUFFIX) else open_store(arguments.uri or default_registry()).uri
    model = find_model(uri, place)
    if model.card is None:
        raise NotFound(f"{uri}: {model.problem}")
    if arguments.json:
        about = {"uri": uri, "name": model.name, "version": model.version, "place": place}
        times = {"size": model.size, "modified_s": model.modified_s, "promoted_at": model.promoted_at or None}
        body = {**about, **times, "problem": model.problem, "card": json.loads(model.card.encode())}
        print(json.dumps(body, indent=1, ensure_ascii=False))
        return
    saved = time.strftime(_TIME, time.localtime(model.modified_s))
    lines = {
        "model": uri,
        "name": model.name,
        "version": f"{model.version}, for the service's clients {model_version(model.card)}",
        "promoted": _promoted(model, place),
        **_facts(model.card),
        "file": f"{model.size / 1e6:,.1f} MB, saved {saved}",
        "sha256": model.card.sha256,
    }
    for name, value in lines.items():
        print(f"{name:<10}  {value}")


def _promoted(model: ModelEntry, place: str) -> str:
    if not model.promoted_at:
        return f"no, not at {place}"
    return f"{_here(model.promoted_at)} at {place}{f', but {model.problem}' if model.problem else ''}"


def _facts(card: ModelCard) -> dict[str, str]:
    """What a card says, in a few words each."""
    config = {key: value for key, value in card.config.items() if key not in ("data", "out", "epochs")}
    held = card.dataset.get("holdout", {})
    return {
        "data set": card.dataset.get("uri", "?"),
        "digest": card.dataset.get("digest", "?"),
        "held out": f"{held['count']:,} examples from {held['first']:,} on" if held else "?",
        "training": ", ".join([f"epochs {card.epochs}", *(f"{key} {value}" for key, value in config.items())]),
        "metrics": ", ".join(f"{key} {_number(value)}" for key, value in card.metrics.items()),
        "features": " x ".join(map(str, card.feature_shape)),
        "parameters": f"{len(card.table)}, of which {len(card.table.learned)} are learned",
    }


def promote_model(arguments: Namespace) -> None:
    """Let a folder serve one of its models from now on; services that follow the folder take it within seconds."""
    _tell(promote(arguments.uri, arguments.place))


def roll_back(arguments: Namespace) -> None:
    """Let a folder serve again what was promoted there before."""
    _tell(rollback(arguments.place))


def _tell(change: Change) -> None:
    if change.before == change.now:
        print(f"{change.registry} serves {change.now.model} already, since {_here(change.now.promoted_at)}")
        return
    before = f", before it was {change.before.model}" if change.before else ""
    print(f"{change.registry} serves {change.now.model}{before}")


def _here(promoted_at: str) -> str:
    """A time of the alias as this machine's clocks show it; as it stands where it is none."""
    try:
        return datetime.fromisoformat(promoted_at).astimezone().strftime(_TIME)
    except ValueError:
        return promoted_at


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def add_models_commands(commands: Any) -> None:
    """Add ``models`` and what comes after it to the subparsers of ``synthray``."""
    parser = commands.add_parser(
        "models",
        help="look at models, choose the one that is served",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    models = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    where = "of a folder of models (default: models under SYNTHRAY_HOME)"
    add_command(models, "ls", list_all, EXAMPLES).add_argument("uri", nargs="?", default="", metavar="URI", help=where)
    command = add_command(models, "show", show_model, EXAMPLES)
    command.add_argument("uri", nargs="?", default="", metavar="URI", help=f"of a {SUFFIX} file, or {where}")
    command.add_argument("--json", action="store_true", help="as JSON, with the whole card")
    command = add_command(models, "promote", promote_model, EXAMPLES)
    command.add_argument("uri", metavar="URI", help=f"of a {SUFFIX} file")
    above = "the folder that is to serve it (default: models under SYNTHRAY_HOME where it lies there, else its own)"
    command.add_argument("--place", default="", metavar="FOLDER", help=above)
    command = add_command(models, "rollback", roll_back, EXAMPLES)
    command.add_argument("place", nargs="?", default="", metavar="FOLDER", help=f"URI {where}")
