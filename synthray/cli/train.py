"""The ``synthray train`` command. The work is in ``synthray.cluster.training.trainer`` and ``synthray.train``."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, BooleanOptionalAction, Namespace
from functools import partial
from typing import Any

from synthray.cli.flags import add_setting, given
from synthray.cli.runner import set_up
from synthray.data.open import name_of, newest_dataset, open_dataset
from synthray.model.architectures import ARCHITECTURES
from synthray.storage import home
from synthray.train.config import (
    LEARNING_RATES,
    PRECISIONS,
    RECIPE,
    SCHEDULES,
    SETTINGS,
    WEIGHT_DECAYS,
    TrainConfig,
    already_trained,
    load_settings,
    with_recipe,
)

DESCRIPTION = """\
Train a network on a data set. By default one worker runs on each GPU of the cluster, or two without GPUs.
Without flags it takes the newest data set under SYNTHRAY_HOME. Run the same command again after a failure.
It resumes from its last checkpoint. Ctrl-C and SIGTERM write a checkpoint before the command ends.
Without --network, the defaults work on features of any scale: a network that normalises them, AdamW, a cosine
schedule with a warm-up, and clipped gradients. With --network, the other defaults are the notebook's, with SGD.
To follow a training: tensorboard --logdir OUT/logs. TensorBoard cannot read a bucket. If OUT is in one, copy the logs
first, and again for newer epochs: aws s3 sync OUT/logs logs && tensorboard --logdir logs"""
EXAMPLES = """
synthray train
synthray train --data s3://bucket/data/first --out s3://bucket/models/first --epochs 30 --workers 4 --gpu
synthray train --network notebook --normalise
synthray train --network log --optimizer adamw --schedule cosine --warmup-steps 200 --batch-size 128
ray job submit --working-dir . -- python jobs/train.py --workers 1:4
"""
WORKER_FLAGS = ("max_failures", "step_timeout_s", "rescale_interval_s")


def configure(parser: ArgumentParser) -> None:
    """Add the command's flags."""
    set_up(parser, train, DESCRIPTION, EXAMPLES)
    parser.add_argument("--data", help="URI of the data set (default: the newest under SYNTHRAY_HOME)")
    parser.add_argument("--out", help="URI for model, checkpoints and logs (default: a folder under SYNTHRAY_HOME)")
    parser.add_argument(
        "--config", metavar="URI", help="JSON file of settings, such as best.json of `synthray tune`; flags override it"
    )
    _add_settings(parser)
    _add_worker_flags(parser)
    parser.add_argument(
        "--track", choices=("mlflow",), help="also log to the MLflow server that MLFLOW_TRACKING_URI names"
    )


def _add_settings(parser: ArgumentParser) -> None:
    """Add a flag for each setting of ``TrainConfig``."""
    setting = partial(add_setting, parser, TrainConfig, default=SUPPRESS)
    parser.add_argument(
        "--network",
        choices=tuple(ARCHITECTURES),
        default=SUPPRESS,
        help=f"network architecture (default: {RECIPE['network']})",
    )
    setting("width", "units per hidden layer")
    setting("epochs", "number of epochs. A finished training can be continued with more, unless --schedule is cosine")
    setting("batch_size", "examples of a step, over all workers together")
    setting("seed", "seed of the initial weights and of the order of examples")
    _add_recipe_flags(parser)
    rates = ", ".join(f"{rate} for {name}" for name, rate in LEARNING_RATES.items())
    setting("learning_rate", f"learning rate (default: {rates})", type=float)
    decays = ", ".join(f"{decay or 0:g} for {name}" for name, decay in WEIGHT_DECAYS.items())
    setting("weight_decay", f"decoupled weight decay (default: {decays})", type=float)
    setting("ema", "decay of a moving average of the weights, such as 0.999 (default: no average)", type=float)
    setting("precision", "arithmetic of the layers", choices=PRECISIONS)
    audible = "leave inaudible parameters out of the loss (own instrument only)"
    setting("audible_only", audible, action=BooleanOptionalAction, type=None)
    setting("jit", "compile the gradient with XLA", action=BooleanOptionalAction, type=None)
    setting("validation_examples", "examples held out for validation (default: 1/9, at most 4096)", type=int)
    setting("checkpoint_steps", "steps between checkpoints. Each epoch ends with one, too")
    setting("keep_checkpoints", "number of newest checkpoints to keep, besides the best epoch's")


def _add_recipe_flags(parser: ArgumentParser) -> None:
    """Add the flags whose default depends on whether a network is named."""

    def setting(name: str, text: str, default: str, named: str, **options: Any) -> None:
        text = f"{text} (default: {default}; {named} with --network)"
        parser.add_argument(f"--{name.replace('_', '-')}", default=SUPPRESS, help=text, **options)

    setting("optimizer", "optimizer", RECIPE["optimizer"], TrainConfig.optimizer, choices=tuple(LEARNING_RATES))
    schedule = "learning rate schedule. cosine decays to zero over all epochs"
    setting("schedule", schedule, RECIPE["schedule"], TrainConfig.schedule, choices=SCHEDULES)
    warmup = "half of the first epoch, at most 500 steps"
    setting("warmup_steps", "steps over which the learning rate rises from zero", warmup, "0", type=int)
    clip = "clip the global gradient norm to this value"
    setting("clip_norm", clip, f"{RECIPE['clip_norm']:g}", "no clipping", type=float)
    normalise = "normalise each bin of the features by its median and spread"
    setting("normalise", normalise, "on", "off", action=BooleanOptionalAction)


def _add_worker_flags(parser: ArgumentParser) -> None:
    """Add the flags of ``synthray.cluster.training.trainer.Workers``.

    The class is not imported here because it loads Ray.
    """
    parser.add_argument(
        "--workers",
        default="0",
        help="number of workers, or MIN:MAX to use as many as fit (default: one per GPU, or 2 without GPUs)",
    )
    parser.add_argument(
        "--gpu", action="store_true", help="one GPU per worker, even if the autoscaler must start it first"
    )
    max_failures = "restarts of lost workers without progress before the training fails (default: 3)"
    parser.add_argument("--max-failures", type=int, default=SUPPRESS, help=max_failures)
    seconds: dict[str, Any] = {"type": float, "default": SUPPRESS, "metavar": "SECONDS"}
    default = "300, or twice SYNTHRAY_STORAGE_RETRY_S if that is longer"
    step_timeout = f"restart the workers if one makes no step for this long (default: {default})"
    parser.add_argument("--step-timeout-s", help=step_timeout, **seconds)
    rescale_interval = "with MIN:MAX workers, time between checks for free capacity (default: 60)"
    parser.add_argument("--rescale-interval-s", help=rescale_interval, **seconds)


def train(arguments: Namespace) -> None:
    """Train and save the model."""
    from synthray.train.logging.tracking import Tracking

    data = arguments.data or newest_dataset()
    settings = given(arguments, SETTINGS)
    if arguments.config:
        settings = load_settings(arguments.config) | settings
    config = TrainConfig(data, arguments.out or f"{home()}/models/{name_of(data)}", **with_recipe(settings))

    # before Ray is started: wrong settings and a finished training are reported at once
    saved = already_trained(config, open_dataset(config.data).manifest)
    tracking = Tracking.find() if arguments.track else None
    if saved and not tracking:
        print(f"already saved {saved}. To train again, give more --epochs or another --out.")
        return

    from synthray.cluster.connect import connect
    from synthray.cluster.training import trainer

    workers = trainer.Workers.parse(arguments.workers, gpu=arguments.gpu, **given(arguments, WORKER_FLAGS))
    connect(verbose=arguments.verbose)
    print(f"training {config.network} on {config.data}", flush=True)
    print(f"saved {trainer.train(config, workers, tracking=tracking)}")
