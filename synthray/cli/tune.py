"""The ``synthray tune`` command. The work is in ``synthray.cluster.tuning.tuner`` and ``synthray.tune``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from synthray.cli.flags import add_setting, given
from synthray.cli.runner import set_up
from synthray.data.open import name_of, newest_dataset, open_dataset
from synthray.storage import home
from synthray.train.config import RECIPE, TrainConfig
from synthray.tune.config import SearchConfig
from synthray.tune.results import BEST
from synthray.tune.space import DEFAULT_SPACE, LR_SPAN, OFF, ON, TUNABLE, parse_space

DESCRIPTION = """\
Search for the training settings with the lowest validation loss. Bad trials are stopped early (ASHA, Ray Tune).
Each setting is a value (256), a list of values (128,256,512) or a range (1e-4:1e-1).
Without --network, the trials have the defaults of `synthray train`, which work on features of any scale.
Writes trials.csv, README.md with a table, and best.json for `synthray train --config`.
Run the same command again after a failure. Finished trials are not run again, and unfinished ones resume.
Several searches on one data set can share --out. One table then lists all their trials."""
EXAMPLES = """
synthray tune
synthray tune --trials 40 --epochs 20 --learning-rate 1e-4:1e-1 --width 128,256,512 --optimizer sgd,adamw
synthray tune --data s3://bucket/data/first --batch-size 64,256 --clip-norm none,1
synthray tune --network notebook,log --normalise on,off
ray job submit --working-dir . -- python jobs/tune.py --minutes 60
"""
LIMITS = ("trials", "epochs", "seed", "validation_examples", "trials_at_once", "gpu", "minutes")


def configure(parser: ArgumentParser) -> None:
    """Add the command's flags."""
    set_up(parser, tune, DESCRIPTION, EXAMPLES)
    parser.add_argument("--data", help="URI of the data set (default: the newest under SYNTHRAY_HOME)")
    parser.add_argument("--out", help="URI for tables and best settings (default: a folder under SYNTHRAY_HOME)")
    add_setting(parser, SearchConfig, "trials", "number of trials")
    add_setting(parser, SearchConfig, "epochs", "maximum epochs of a trial")
    parser.add_argument(
        "--trials-at-once",
        type=int,
        default=SearchConfig.trials_at_once,
        metavar="N",
        help="trials that run at the same time (default: one per GPU, or per CPU without GPUs)",
    )
    parser.add_argument(
        "--gpu", action="store_true", help="one GPU per trial, even if the autoscaler must start it first"
    )
    parser.add_argument("--minutes", type=float, help="time limit. The same command continues the search")
    add_setting(parser, SearchConfig, "seed", "seed of the drawn settings and of each training")
    parser.add_argument(
        "--validation-examples", type=int, help="examples held out for validation (default: 1/9, at most 4096)"
    )
    for name, kind in TUNABLE.items():
        options: dict[str, Any] = {"nargs": "?", "const": ON} if kind is bool else {}
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="VALUES", help=f"default: {_tried(name)}", **options)


def _tried(name: str) -> str:
    """Return the values that a search tries if the flag of a setting is missing."""
    if name == "learning_rate":
        return f"the optimizer's default, divided or multiplied by up to {LR_SPAN:g}"
    if name == "weight_decay":
        return "the optimizer's default"
    named = _shown(DEFAULT_SPACE.get(name, getattr(TrainConfig, name)))
    if name not in RECIPE:
        return named
    recipe = "half of the first epoch, at most 500 steps" if name == "warmup_steps" else _shown(RECIPE[name])
    return recipe if name == "network" else f"{recipe}; {named} with --network"


def _shown(value: Any) -> str:
    return (ON if value else OFF) if isinstance(value, bool) else str(value).lower()


def tune(arguments: Namespace) -> None:
    """Run the search and print its best settings."""
    data = arguments.data or newest_dataset()
    out = arguments.out or f"{home()}/tune/{name_of(data)}"
    config = SearchConfig(data, out, parse_space(given(arguments, TUNABLE)), **given(arguments, LIMITS))
    # before Ray is started: wrong settings are reported at once
    config.configs(open_dataset(config.data).manifest)

    from synthray.cluster.connect import connect
    from synthray.cluster.tuning import tuner

    tuner.silence_ray_tune(verbose=arguments.verbose)
    connect(verbose=arguments.verbose)
    print(f"searching on {config.data}", flush=True)
    folder = tuner.search(config, lambda line: print(line, flush=True), verbose=arguments.verbose)
    if best := folder.best:
        print(f"\nbest: {best.line()}")
        print("  ".join(f"{name} {best.settings[name]}" for name in TUNABLE))
        print(f"wrote {folder.uri}/{BEST}. To train with it:\n\n    {folder.command()}")
