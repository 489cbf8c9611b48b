"""Train a network on a data set, on as many workers as the cluster has GPUs, or on two without any.

    python jobs/train.py
    python jobs/train.py --data s3://bucket/data/first --out s3://bucket/models/first --epochs 30 --workers 4 --gpu
    python jobs/train.py --network log --optimizer adamw --schedule cosine --warmup-steps 200 --batch-size 128
    ray job submit --working-dir . -- python jobs/train.py

With no flags it takes the newest data set under SYNTHRAY_HOME. Run it again after a failure: it goes on from its last
checkpoint. Ctrl-C and SIGTERM end it with one. Follow it with: tensorboard --logdir OUT/logs
"""

from __future__ import annotations

import argparse
import sys

from synthray.cli.runner import job_parser, run
from synthray.data.open import name_of, newest_dataset, open_dataset
from synthray.storage import home
from synthray.train.config import (
    LEARNING_RATES,
    NETWORKS,
    PRECISIONS,
    SCHEDULES,
    SETTINGS,
    TrainConfig,
    already_trained,
    load_settings,
)
from synthray.train.logging.mlflow import Tracking


def main(arguments: argparse.Namespace) -> None:
    data = arguments.data or newest_dataset()
    settings = {name: value for name, value in vars(arguments).items() if name in SETTINGS and value is not None}
    if arguments.config:
        settings = load_settings(arguments.config) | settings
    config = TrainConfig(data, arguments.out or f"{home()}/models/{name_of(data)}", **settings)

    # before anything is started, for an answer at once
    saved = already_trained(config, open_dataset(config.data).manifest)
    tracking = Tracking.find() if arguments.track else None
    if saved and not tracking:
        print(f"saved {saved} before; give more --epochs, or another --out, to train again")
        return

    from synthray.cluster import trainer
    from synthray.cluster.connect import connect

    workers = trainer.Workers.parse(
        arguments.workers,
        gpu=arguments.gpu,
        max_failures=arguments.max_failures,
        step_timeout_s=arguments.step_timeout_s,
        rescale_interval_s=arguments.rescale_interval_s,
    )
    connect(verbose=arguments.verbose)
    print(f"training {config.network} on {config.data}", flush=True)
    print(f"saved {trainer.train(config, workers, tracking=tracking)}")


def parser() -> argparse.ArgumentParser:
    parser = job_parser(__file__, __doc__)
    parser.add_argument("--data", help="URI of the data set (default: the newest under SYNTHRAY_HOME)")
    parser.add_argument("--out", help="URI for model, checkpoints and logs (default: a folder under SYNTHRAY_HOME)")
    parser.add_argument("--config", metavar="URI", help="settings from a file, as jobs/tune.py leaves one; flags win")

    def setting(name: str, text: str, **options: object) -> None:
        default = getattr(TrainConfig, name)
        text += "" if default is None else f" (default: {default})"
        parser.add_argument(f"--{name.replace('_', '-')}", help=text, **{"type": type(default)} | options)

    setting("network", "network", choices=NETWORKS)
    setting("width", "units of its layers")
    setting("epochs", "may be raised later, where the learning rate does not follow them")
    setting("batch_size", "examples of a step, of all workers together")
    setting("seed", "of weights and order")
    setting("optimizer", "what makes steps of gradients", choices=tuple(LEARNING_RATES))
    rates = ", ".join(f"{rate} for {name}" for name, rate in LEARNING_RATES.items())
    setting("learning_rate", f"default: {rates}", type=float)
    setting("weight_decay", "share of the weights that a step takes away, times the learning rate", type=float)
    setting("schedule", "of the learning rate; cosine: down to zero over all epochs", choices=SCHEDULES)
    setting("warmup_steps", "in which the learning rate rises from zero")
    setting("clip_norm", "the most that the gradient of all weights together may measure", type=float)
    setting("ema", "decay of a moving average of the weights, such as 0.999, to validate and save", type=float)
    setting("precision", "of the layers' arithmetic", choices=PRECISIONS)
    setting("jit", "compile the gradient with XLA", action=argparse.BooleanOptionalAction, type=None)
    setting("validation_examples", "kept from training (default: a ninth, at most 4096)", type=int)
    setting("checkpoint_steps", "steps from one checkpoint to the next, besides one after each epoch")
    setting("keep_checkpoints", "how many of the newest stay, besides the best epoch's")

    workers = "how many, or FEWEST:MOST for as many as the cluster has room for (default: one a GPU, or 2 without GPUs)"
    parser.add_argument("--workers", default="0", help=workers)
    gpu = "a GPU for each worker, also where the autoscaler must bring them first"
    parser.add_argument("--gpu", action="store_true", help=gpu)
    failures = "how often lost workers are started again without getting further (default: %(default)s)"
    parser.add_argument("--max-failures", type=int, default=3, help=failures)
    stuck = "after how long without a step a worker counts as lost (default: 300, or twice the retry timeout with the store)"
    parser.add_argument("--step-timeout-s", type=float, metavar="SECONDS", help=stuck)
    resize = "how often FEWEST:MOST workers look for room (default: %(default)g)"
    parser.add_argument("--rescale-interval-s", type=float, default=60.0, metavar="SECONDS", help=resize)
    track = "log to the server that MLFLOW_TRACKING_URI names, too"
    parser.add_argument("--track", choices=("mlflow",), help=track)
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
