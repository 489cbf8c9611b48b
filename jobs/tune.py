"""Search for the settings that train best on a data set: many at once, the bad ones stopped early (ASHA, Ray Tune).

    python jobs/tune.py
    python jobs/tune.py --trials 40 --epochs 20 --learning-rate 1e-4:1e-1 --width 128,256,512 --optimizer sgd,adamw
    python jobs/tune.py --data s3://bucket/data/first --batch-size 64,256 --clip-norm none,1
    ray job submit --working-dir . -- python jobs/tune.py --minutes 60

A setting is one value, several of which each is tried (128,256,512), or a range (1e-4:1e-1). Leaves trials.csv, a table
in README.md, and best.json, which jobs/train.py takes with --config. Run it again after a failure: it goes on. Another
search on the same data may use the same --out: its trials stand in the same table. Trials that run at once may decide
which of them is stopped early; what each one comes to depends on its settings alone.
"""

from __future__ import annotations

import argparse
import sys

from synthray.cli.runner import job_parser, run
from synthray.data.open import name_of, newest_dataset, open_dataset
from synthray.storage import home
from synthray.train.config import TrainConfig
from synthray.tune.results import BEST, SearchConfig
from synthray.tune.space import DEFAULT_SPACE, LR_SPAN, TUNABLE, space


def main(arguments: argparse.Namespace) -> None:
    data = arguments.data or newest_dataset()
    config = SearchConfig(
        data,
        arguments.out or f"{home()}/tune/{name_of(data)}",
        space({name: getattr(arguments, name) for name in TUNABLE}),
        trials=arguments.trials,
        epochs=arguments.epochs,
        seed=arguments.seed,
        validation_examples=arguments.validation_examples,
        at_once=arguments.trials_at_once,
        gpu=arguments.gpu,
        minutes=arguments.minutes,
    )

    # before anything is started, for an answer at once
    config.configs(open_dataset(config.data).manifest)

    from synthray.cluster import tuner
    from synthray.cluster.connect import connect

    tuner.quiet(verbose=arguments.verbose)
    connect(verbose=arguments.verbose)
    print(f"searching on {config.data}", flush=True)
    found = tuner.search(config, lambda line: print(line, flush=True), verbose=arguments.verbose)
    best = found.best
    print(f"\nbest: {best.line()}")
    print("  ".join(f"{name} {best.settings[name]}" for name in TUNABLE))
    print(f"written to {found.uri}/{BEST}; to train with it:\n\n    {found.command()}")


def parser() -> argparse.ArgumentParser:
    parser = job_parser(__file__, __doc__)
    default = SearchConfig
    parser.add_argument("--data", help="URI of the data set (default: the newest under SYNTHRAY_HOME)")
    parser.add_argument("--out", help="URI for tables and best settings (default: a folder under SYNTHRAY_HOME)")
    parser.add_argument("--trials", type=int, default=default.trials, help="settings to try (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=default.epochs, help="the most of a trial (default: %(default)s)")
    parser.add_argument(
        "--trials-at-once", type=int, default=0, metavar="N", help="default: one a GPU, or a processor without GPUs"
    )
    parser.add_argument("--gpu", action="store_true", help="a GPU for each trial, also where none is up yet")
    parser.add_argument("--minutes", type=float, help="end after so long; the same command goes on")
    parser.add_argument(
        "--seed", type=int, default=default.seed, help="of the settings, and of each training (default: %(default)s)"
    )
    parser.add_argument("--validation-examples", type=int, help="kept from training (default: a ninth, at most 4096)")
    for name in TUNABLE:
        around = f"up to {LR_SPAN:g} times lower or higher than the optimizer's own"
        tried = around if name == "learning_rate" else DEFAULT_SPACE.get(name, getattr(TrainConfig, name))
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="VALUES", help=f"default: {tried}".lower())
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
