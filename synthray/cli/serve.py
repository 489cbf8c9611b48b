"""The ``synthray serve`` command. The work is in ``synthray.cluster.serving.session`` and ``synthray.serve``."""

from __future__ import annotations

import math
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import fields

from synthray.cli.flags import add_setting, given
from synthray.cli.runner import set_up
from synthray.errors import ConfigError
from synthray.serve.config import MAX_BODY_BYTES, Address, ReplicaConfig
from synthray.serve.http.access import TOKEN_VARIABLE, tokens_from_environment

MIB = 2**20

DESCRIPTION = """\
Serve a model over HTTP until the command is stopped, on this machine or as a Ray job.
Without flags it serves the promoted model under SYNTHRAY_HOME, or the newest one if none is promoted,
or the shipped one if there is none.
It listens on this machine only. Given a folder, it switches to a newly promoted model within seconds.
To send it a sound:

    curl --data-binary @sound.wav http://127.0.0.1:8000/v1/models/synthray:match"""
EXAMPLES = """
synthray serve
synthray serve --model s3://bucket/models/model_9_20.keras --host 0.0.0.0 --port 9000
synthray serve --canary ~/.synthray/models/9-batches-seed-0/model_9_20.keras --canary-percent 10
synthray serve --tls-cert chain.pem --tls-key key.pem --allow-origin https://example.org
ray job submit --working-dir . -- python jobs/serve.py
"""


def configure(parser: ArgumentParser) -> None:
    """Add the command's flags."""
    set_up(parser, serve, DESCRIPTION, EXAMPLES)
    model = (
        "a .keras file, a folder for its promoted or else its newest model, or `shipped` for the model of the "
        "package (default: the models under SYNTHRAY_HOME, or shipped if there are none)"
    )
    add_setting(parser, ReplicaConfig, "model", model, metavar="URI")
    add_setting(parser, Address, "host", "address to listen on. 0.0.0.0 accepts requests from other machines")
    add_setting(parser, Address, "port", "port to listen on")
    add_setting(parser, ReplicaConfig, "replicas", "copies of the model", metavar="N")
    canary = "a second model, which answers a share of the requests"
    add_setting(parser, ReplicaConfig, "canary", canary, metavar="URI")
    share = "share of the requests that the canary answers, percent"
    add_setting(parser, ReplicaConfig, "canary_percent", share, metavar="PERCENT")
    add_setting(parser, ReplicaConfig, "max_refine_s", "longest search of one request", metavar="SECONDS")
    limit = f"limit of a request's body, MiB (default: {MAX_BODY_BYTES / MIB:g})"
    parser.add_argument("--max-body-mib", type=float, default=MAX_BODY_BYTES / MIB, metavar="MIB", help=limit)
    add_setting(parser, ReplicaConfig, "max_waiting", "limit of waiting predictions; more get status 429", metavar="N")
    add_setting(parser, ReplicaConfig, "max_sounds", "limit of waiting sounds; more get status 429", metavar="N")
    add_setting(parser, ReplicaConfig, "max_searches", "limit of waiting searches; more get status 429", metavar="N")
    add_setting(parser, ReplicaConfig, "body_timeout_s", "longest time to send a body", metavar="SECONDS")
    origin = "an origin whose pages may use the service, such as https://example.org, or * for all; may be repeated"
    parser.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN", help=origin)
    add_setting(parser, Address, "tls_cert", "certificate chain for HTTPS (PEM)", metavar="FILE")
    add_setting(parser, Address, "tls_key", "private key of the certificate (PEM)", metavar="FILE")
    add_setting(parser, Address, "grpc_port", "port of the Open Inference Protocol, version 2, over gRPC. 0 for none")
    haproxy = "let HAProxy route the requests: faster, but open to every network; needs --host 0.0.0.0"
    parser.add_argument("--haproxy", action="store_true", help=haproxy)
    parser.add_argument("--no-ray", action="store_true", help="serve from this process alone, without Ray")
    parser.add_argument("--replace", action="store_true", help="replace the service that this cluster already runs")


def serve(arguments: Namespace) -> None:
    """Serve the model until the process is interrupted."""
    config = ReplicaConfig(
        **given(arguments, [field.name for field in fields(ReplicaConfig)]),
        max_body_bytes=_bytes(arguments.max_body_mib),
        allow_origins=tuple(arguments.allow_origin),
    )
    address = Address(**given(arguments, [field.name for field in fields(Address)]))

    # before Ray is started: a missing model is reported at once
    from synthray.model.registry import served_model

    for uri in (config.model, *filter(None, [config.canary])):
        served_model(uri)
    tokens = tokens_from_environment()
    if not address.is_local and not tokens:
        print(
            f"{address.host}:{address.port}: open to every machine that can reach it. "
            f"Set {TOKEN_VARIABLE} to require a token.",
            file=sys.stderr,
        )

    if arguments.no_ray:
        if arguments.haproxy or arguments.replace or arguments.replicas != ReplicaConfig.replicas:
            raise ConfigError("--no-ray: it has no replicas. Leave out --replicas, --replace and --haproxy.")
        from synthray.serve.process import serve_here

        serve_here(config, address)
    else:
        if arguments.haproxy:
            from synthray.cluster.serving.haproxy import use_haproxy

            use_haproxy(address)
        from synthray.cluster.serving.session import serve_until_stopped

        serve_until_stopped(config, address, take_over=arguments.replace, verbose=arguments.verbose)


def _bytes(mib: float) -> int:
    if not 0 < mib < math.inf:
        raise ConfigError(f"--max-body-mib is {mib}. Give a number of MiB above 0.")
    return max(1, int(mib * MIB))
