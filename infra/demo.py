"""The whole product, in order, on this machine: sounds, data set, training, evaluation, service, a match to hear.

    make demo
    make demo STORE=s3

Every step is the command that one would type on a cluster. What it makes stays in demo/; what it starts ends with it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from ray_head import HOST, REPOSITORY, RayHead, running_ray_head
from s3_server import running_s3_server

DEMO = REPOSITORY / "demo"
SERVICE_TIMEOUT_S = 120.0
SERVE_JOB = "synthray-serve"
# What `ray job submit` says of packing, sending and following a job, around what the job says.
RAYS_OWN = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+\s+(INFO|SUCC|WARNING) \w+\.py:\d+ -- |Running entrypoint for job")
# Training uses seed 0: what this seed gives, the network has never seen. It is loud enough to be listened to.
UNSEEN_SEED = 25


def main() -> None:
    arguments = parser().parse_args()
    DEMO.mkdir(exist_ok=True)
    began_s = time.monotonic()
    with contextlib.ExitStack() as running:
        environment = {"SYNTHRAY_HOME": str(DEMO)}
        if arguments.store == "s3":
            title("an S3 server")
            server = running.enter_context(running_s3_server(DEMO / "s3"))
            environment = {"SYNTHRAY_HOME": f"s3://{server.bucket}/demo", **server.environment}
            print(f"SeaweedFS at {server.endpoint_url}")
        title("Ray")
        head = running.enter_context(running_ray_head(environment))
        print(f"Ray at {head.dashboard_url}, SYNTHRAY_HOME={environment['SYNTHRAY_HOME']}")

        # named, because other data sets may have been made in the demo's home since
        batches, data = (f"{environment['SYNTHRAY_HOME']}/{folder}/9-batches-seed-0" for folder in ("batches", "data"))
        for name, job in (
            ("sounds: 9 batches of 32", ["jobs/generate.py"]),
            ("a data set: Parquet shards and a manifest", ["jobs/convert.py", "--source", batches]),
            (
                "a network: 20 epochs on 2 workers, 8 batches to train, 1 to validate",
                ["jobs/train.py", "--data", data, "--workers", "2"],
            ),
            ("its scores on the examples that were kept from training", ["jobs/evaluate.py", "--data", data]),
        ):
            title(name)
            shell(head, head.command("python", *job))

        print("288 sounds are too few to learn from: here every part is shown to work. `make model` makes more.")
        title("a service, and a sound that was not in training")
        match_over_http(head)
    title(f"done in {time.monotonic() - began_s:.0f} s")
    print(f"data set, model, logs and report: {environment['SYNTHRAY_HOME']}")
    if arguments.store == "s3":
        print("its server has ended; bring it back with:")
        print("  .venv/bin/python infra/s3_server.py --dir demo/s3 --env-file demo/s3.env")
    print(f"listen: {DEMO / 'original.wav'} and {DEMO / 'match.wav'} (preset: {DEMO / 'match.json'})")


def match_over_http(head: RayHead) -> None:
    """Serve the model, send it a sound, render the preset that comes back."""
    original, matched = DEMO / "original.wav", DEMO / "match.json"
    shell(head, ["synthray", "random", "--seed", str(UNSEEN_SEED), "--out", str(DEMO / "original.json")])
    shell(head, ["synthray", "render", str(DEMO / "original.json"), "--out", str(original)])
    port = str(free_port())
    serve = head.command("python", "jobs/serve.py", "--port", port, options=("--no-wait", "--submission-id", SERVE_JOB))
    shell(head, serve, quiet=True)
    try:
        url = f"http://{HOST}:{port}"
        wait_for_service(f"{url}/healthz")
        print(f"$ curl --data-binary @{original} {url}/v1/models/synthray:match")
        request = urllib.request.Request(f"{url}/v1/models/synthray:match", original.read_bytes(), method="POST")
        with urllib.request.urlopen(request, timeout=60) as response:
            preset = json.load(response)["preset"]
        matched.write_text(json.dumps(preset, indent=1) + "\n")
        print_side_by_side(json.loads((DEMO / "original.json").read_text()), preset)
    finally:
        shell(head, ["ray", "job", "stop", SERVE_JOB], quiet=True)
    shell(head, ["synthray", "render", str(matched), "--out", str(DEMO / "match.wav")])


def print_side_by_side(original: dict, predicted: dict) -> None:
    """Some settings of both presets, in their units."""
    print(f"{'':24}{'original':>18}{'predicted':>18}")
    for name in ("oscillator_1_waveform", "oscillator_1_pitch", "filter_type", "filter_cutoff", "noise_level"):
        row = [preset["parameters"][name] for preset in (original, predicted)]
        values = [v["value"] if isinstance(v["value"], str) else f"{v['value']:.1f} {v['unit']}" for v in row]
        print(f"{name:24}{values[0]:>18}{values[1]:>18}")


def shell(head: RayHead, command: list[str], *, quiet: bool = False) -> None:
    """Show a command and run it; a failure ends the demo with its exit code."""
    print(f"$ {shlex.join(command)}", flush=True)
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=head.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            if not quiet and not RAYS_OWN.match(line):
                print(line, end="", flush=True)
    if process.returncode:
        sys.exit(f"demo: the command failed with exit code {process.returncode}: {shlex.join(command)}")


def wait_for_service(url: str) -> None:
    deadline = time.monotonic() + SERVICE_TIMEOUT_S
    while True:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=2):
            return
        if time.monotonic() > deadline:
            sys.exit(f"demo: the service did not answer at {url} within {SERVICE_TIMEOUT_S:.0f} s")
        time.sleep(0.25)


def title(text: str) -> None:
    print(f"\n── {text}", flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("demo.py", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--store", choices=("local", "s3"), default=os.environ.get("STORE", "local") or "local")
    return parser


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)  # so that what was started ends, as with Ctrl-C
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("demo: stopped; what was made stays, and the next run goes on from it")
