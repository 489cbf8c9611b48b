"""Serve a model over HTTP until it is stopped, on this machine or as a Ray job.

    python jobs/serve.py
    python jobs/serve.py --model s3://bucket/models/model_9_20.keras --host 0.0.0.0 --port 9000
    ray job submit --working-dir . -- python jobs/serve.py

With no flags it serves the promoted model under SYNTHRAY_HOME, or the newest where none is, to this machine alone.
Unless --model names one file, it takes another within seconds of its promotion (synthray models promote). Then:

    curl --data-binary @sound.wav http://127.0.0.1:8000/v1/models/synthray:match
"""

from __future__ import annotations

import argparse
import sys

from synthray.cli.runner import job_parser, run
from synthray.serve.config import Address, ReplicaConfig


def main(arguments: argparse.Namespace) -> None:
    config = ReplicaConfig(model=arguments.model, replicas=arguments.replicas)
    address = Address(arguments.host, arguments.port)

    from synthray.cluster.session import serve_until_stopped

    serve_until_stopped(config, address, take_over=arguments.replace, verbose=arguments.verbose)


def parser() -> argparse.ArgumentParser:
    parser = job_parser(__file__, __doc__)
    model = "a .keras file, or a directory: the one promoted there, or its newest"
    parser.add_argument("--model", default="", metavar="URI", help=model)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 is every network")
    parser.add_argument("--port", type=int, default=8000, help="port to listen at (default: 8000)")
    parser.add_argument("--replicas", type=int, default=1, metavar="N", help="copies of the model (default: 1)")
    parser.add_argument("--replace", action="store_true", help="take the place of one that this cluster runs already")
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
