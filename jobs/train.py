"""Train a network on a data set, on as many workers as the cluster has GPUs, or on two without any.

    python jobs/train.py
    python jobs/train.py --data s3://bucket/data/first --out s3://bucket/models/first --epochs 30 --workers 4 --gpu
    ray job submit --working-dir . -- python jobs/train.py

With no flags it takes the newest data set under SYNTHRAY_HOME. Run it again after a failure: it goes on from its last
checkpoint. --epochs may be raised later. Follow it with: tensorboard --logdir OUT/logs
"""

from __future__ import annotations

import argparse
import sys

from synthray.command import job_parser, run
from synthray.data.dataset import Dataset, name_of, newest_dataset
from synthray.data.storage import home
from synthray.train.config import MODELS, TrainConfig, check_place


def main(arguments: argparse.Namespace) -> None:
    data = arguments.data or newest_dataset()
    config = TrainConfig(
        data=data,
        out=arguments.out or f"{home()}/models/{name_of(data)}",
        model=arguments.model,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        learning_rate=arguments.learning_rate,
        validation_examples=arguments.validation_examples,
        checkpoint_steps=arguments.checkpoint_steps,
    )

    # before anything is started, for an answer at once
    check_place(config, Dataset.open(config.data).manifest)

    from synthray.data import ray_data
    from synthray.train import ray_train

    workers = ray_train.Workers(arguments.workers, arguments.gpu, arguments.max_failures)
    ray_data.connect(verbose=arguments.verbose)
    print(f"training {config.model} on {config.data}", flush=True)
    saved = ray_train.train(config, workers, lambda line: print(line, flush=True))
    print(f"saved {saved}")


def parser() -> argparse.ArgumentParser:
    parser = job_parser(__file__, __doc__)
    default = TrainConfig
    parser.add_argument("--data", help="URI of the data set (default: the newest under SYNTHRAY_HOME)")
    parser.add_argument("--out", help="URI for model, checkpoints and logs (default: a folder under SYNTHRAY_HOME)")
    parser.add_argument("--model", choices=MODELS, default=default.model, help="network (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=default.epochs, help="default: %(default)s")
    parser.add_argument(
        "--batch-size", type=int, default=default.batch_size, help="of all workers together (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=0, help="default: one a GPU, or 2 without GPUs")
    parser.add_argument(
        "--gpu", action="store_true", help="a GPU each, also where the autoscaler must bring them first"
    )
    parser.add_argument("--seed", type=int, default=default.seed, help="of weights and order (default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate, help="default: %(default)s")
    parser.add_argument("--validation-examples", type=int, help="kept from training (default: a ninth, at most 4096)")
    parser.add_argument(
        "--checkpoint-steps", type=int, default=default.checkpoint_steps, help="between two (default: %(default)s)"
    )
    parser.add_argument(
        "--max-failures", type=int, default=3, help="restarts after a lost worker (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
