"""The ``synthray serve`` command. The work is in ``synthray.cluster.session`` and ``synthray.serve``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from synthray.cli.flags import add_setting
from synthray.cli.runner import set_up
from synthray.serve.config import Address, ReplicaConfig

DESCRIPTION = """\
Serve a model over HTTP until the command is stopped, on this machine or as a Ray job.
Without flags it serves the promoted model under SYNTHRAY_HOME, or the newest one if none is promoted.
It listens on this machine only. Given a folder, it switches within seconds of `synthray models promote`.
To send it a sound:

    curl --data-binary @sound.wav http://127.0.0.1:8000/v1/models/synthray:match"""
EXAMPLES = """
synthray serve
synthray serve --model s3://bucket/models/model_9_20.keras --host 0.0.0.0 --port 9000
ray job submit --working-dir . -- python jobs/serve.py
"""


def configure(parser: ArgumentParser) -> None:
    """Add the command's flags."""
    set_up(parser, serve, DESCRIPTION, EXAMPLES)
    model = "a .keras file, or a folder: its promoted model, or its newest (default: models under SYNTHRAY_HOME)"
    add_setting(parser, ReplicaConfig, "model", model, metavar="URI")
    add_setting(parser, Address, "host", "address to listen on. 0.0.0.0 accepts requests from other machines")
    add_setting(parser, Address, "port", "port to listen on")
    add_setting(parser, ReplicaConfig, "replicas", "copies of the model", metavar="N")
    parser.add_argument("--no-ray", action="store_true", help="serve from this process alone, without Ray")
    parser.add_argument("--replace", action="store_true", help="replace the service that this cluster already runs")


def serve(arguments: Namespace) -> None:
    """Serve the model until the process is interrupted."""
    config = ReplicaConfig(model=arguments.model, replicas=arguments.replicas)
    address = Address(arguments.host, arguments.port)

    # before Ray is started: a missing model is reported at once
    from synthray.model.registry import served_model

    served_model(config.model)

    if arguments.no_ray:
        from synthray.serve.process import serve_here

        serve_here(config, address)
    else:
        from synthray.cluster.session import serve_until_stopped

        serve_until_stopped(config, address, take_over=arguments.replace, verbose=arguments.verbose)
