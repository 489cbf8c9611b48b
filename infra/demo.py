"""Run the whole pipeline in order: sounds, data set, training, evaluation, service, match.

The network of the demo learns little in a minute. So the last step also matches the sound with the model that comes
with the package, and compares both matches.

    make demo
    make demo STORE=s3

Each step runs the command that a user types on a cluster. The demo starts its own Ray (``ray_head.py``) and, with
``STORE=s3``, its own S3 server (``s3_server.py``). It stops both at the end and keeps its results in ``demo/``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray_head import HOST, REPOSITORY, RayHead, free_ports, running_ray_head
from s3_server import running_s3_server

from synthray.proxies import bypass

DEMO = REPOSITORY / "demo"
DATASET = "9-batches-seed-0"
# Seed of a loud preset that is not in the training data, which has seed 0.
UNSEEN_SEED = 25
SERVE_JOB = "synthray-serve"
SERVICE_TIMEOUT_S = 120.0
SHOWN_PARAMETERS = ("oscillator_1_waveform", "oscillator_1_pitch", "filter_type", "filter_cutoff", "noise_level")
# Log lines of `ray job submit` itself, which surround the output of the job.
RAY_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+\s+(INFO|SUCC|WARNING) \w+\.py:\d+ -- |Running entrypoint for job")


def main() -> None:
    """Run all steps in order."""
    arguments = parser().parse_args()
    os.environ.update(bypass(os.environ))
    DEMO.mkdir(exist_ok=True)
    started_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        environment = stack.enter_context(storage(arguments.store))
        home = environment["SYNTHRAY_HOME"]
        title("Start Ray")
        head = stack.enter_context(running_ray_head(environment))
        print(f"Ray runs at {head.dashboard_url}. SYNTHRAY_HOME is {home}.")
        train_a_network(head, home)
        match_a_sound(head)
    title(f"Done in {time.monotonic() - started_s:.0f} s")
    print_next_steps(arguments.store, home)


def train_a_network(head: RayHead, home: str) -> None:
    """Generate sounds, convert them, train on them and evaluate the network."""
    title("Generate 9 batches of 32 sounds")
    submit(head, "python", "jobs/generate.py")

    title("Convert them into a data set: Parquet shards and a manifest")
    submit(head, "python", "jobs/convert.py", "--source", f"{home}/batches/{DATASET}")

    title("Train a network for 20 epochs on 2 workers, with one batch held out")
    submit(head, "python", "jobs/train.py", "--data", f"{home}/data/{DATASET}", "--workers", "2")

    title("Evaluate it on the held-out batch")
    submit(head, "python", "jobs/evaluate.py", "--data", f"{home}/data/{DATASET}")
    print("The network learns little from 288 sounds. `make model` trains on 5.1 million.")


def match_a_sound(head: RayHead) -> None:
    """Match an unseen sound with the demo's network and with the shipped model, and print both matches."""
    title("Make a sound that the network has not seen")
    original, match = DEMO / "original", DEMO / "match"
    run(head, "synthray", "random", "--seed", str(UNSEEN_SEED), "--out", f"{original}.json")
    run(head, "synthray", "render", f"{original}.json", "--out", f"{original}.wav")

    title("Serve the network and match the sound over HTTP")
    with running_service(head) as url:
        preset = match_over_http(url, Path(f"{original}.wav"))
    Path(f"{match}.json").write_text(json.dumps(preset, indent=1) + "\n")
    run(head, "synthray", "render", f"{match}.json", "--out", f"{match}.wav")

    title("Match it with the model that comes with synthray, and search a second for a better preset")
    best = DEMO / "best-match"
    command = ("synthray", "match", f"{original}.wav", "--model", "shipped", "--refine", "1")
    run(head, *command, "--out", f"{best}.json", "--wav", f"{best}.wav")
    print_side_by_side(*(json.loads(Path(f"{name}.json").read_text()) for name in (original, match, best)))
    print_distances(original, {"the demo's network": match, "shipped model, 1 s of search": best})


@contextlib.contextmanager
def storage(store: str) -> Iterator[dict[str, str]]:
    """Yield the environment for a local folder or for a running S3 server."""
    if store == "local":
        yield {"SYNTHRAY_HOME": str(DEMO)}
        return
    title("Start an S3 server")
    with running_s3_server(DEMO / "s3") as server:
        print(f"SeaweedFS runs at {server.endpoint_url}.")
        yield {"SYNTHRAY_HOME": f"s3://{server.bucket}/demo", **server.environment}


@contextlib.contextmanager
def running_service(head: RayHead) -> Iterator[str]:
    """Serve the newest model as a Ray job and yield the service's URL."""
    port = str(free_ports(1)[0])
    url = f"http://{HOST}:{port}"
    options = ("--no-wait", "--submission-id", SERVE_JOB)
    run(head, *head.command("python", "jobs/serve.py", "--port", port, options=options), quiet=True)
    try:
        wait_for_service(f"{url}/healthz")
        yield url
    finally:
        run(head, "ray", "job", "stop", SERVE_JOB, quiet=True)


def match_over_http(url: str, sound: Path) -> dict[str, Any]:
    """Send a sound to the service and return the preset of its answer."""
    print(f"$ curl --data-binary {shlex.quote(f'@{sound}')} {url}/v1/models/synthray:match")
    request = urllib.request.Request(f"{url}/v1/models/synthray:match", sound.read_bytes(), method="POST")
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["preset"]


def print_side_by_side(*presets: dict[str, Any]) -> None:
    """Print some parameters of the original and of both matches with their units."""
    print(f"{'':24}{'original':>18}{'demo network':>18}{'shipped model':>18}")
    for name in SHOWN_PARAMETERS:
        cells = []
        for preset in presets:
            parameter = preset["parameters"][name]
            is_text = isinstance(parameter["value"], str)
            cells.append(parameter["value"] if is_text else f"{parameter['value']:.1f} {parameter['unit']}")
        print(f"{name:24}" + "".join(f"{cell:>18}" for cell in cells))


def print_distances(original: Path, matches: dict[str, Path]) -> None:
    """Print the distances of matches from the original: a random preset is at 15, and 1 is as good as it gets."""
    from synthray.match.distances.spectral import mel_levels, multi_scale_distance
    from synthray.synth.files.sound_file import read_sound

    def levels(path: Path) -> Any:
        return mel_levels(read_sound(Path(f"{path}.wav").read_bytes()).audio[None])

    print("\nDistance to the original (a random preset has about 15, the same preset with other noise about 1):")
    for name, path in matches.items():
        print(f"    {name:32}{float(multi_scale_distance(levels(original), levels(path))[0]):5.1f} dB")


def print_next_steps(store: str, home: str) -> None:
    """Print where the sounds are and how to open the page."""
    print("To listen, play these files:")
    for name in ("original", "match", "best-match"):
        print(f"    {DEMO / name}.wav")
    print("To match your own sounds on a page, serve the network again and open http://127.0.0.1:8000/ in a browser:")
    if store == "s3":
        print("    .venv/bin/python infra/s3_server.py --dir demo/s3 --env-file demo/s3.env &")
        print("    until [ -f demo/s3.env ]; do sleep 1; done; . demo/s3.env")
    print(f"    SYNTHRAY_HOME={shlex.quote(home)} .venv/bin/synthray serve")


def submit(head: RayHead, *command: str) -> None:
    """Run a command as a Ray job and print its output."""
    run(head, *head.command(*command))


def run(head: RayHead, *command: str, quiet: bool = False) -> None:
    """Print a command, run it and print its output. Exit if it fails."""
    print(f"$ {shlex.join(command)}", flush=True)
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=head.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            if not quiet and not RAY_LOG_LINE.match(line):
                print(line, end="", flush=True)
    if process.returncode:
        sys.exit(f"demo: a command failed with exit code {process.returncode}: {shlex.join(command)}")


def wait_for_service(url: str) -> None:
    """Wait until the service answers at ``url``."""
    deadline = time.monotonic() + SERVICE_TIMEOUT_S
    while True:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=2):
            return
        if time.monotonic() > deadline:
            sys.exit(f"demo: no answer from the service at {url} within {SERVICE_TIMEOUT_S:.0f} s")
        time.sleep(0.25)


def title(text: str) -> None:
    """Print the title of a step."""
    print(f"\n── {text}", flush=True)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the demo's flags."""
    parser = argparse.ArgumentParser("demo.py", description=(__doc__ or "").partition("\n\n")[0])
    default = os.environ.get("STORE") or "local"
    parser.add_argument("--store", choices=("local", "s3"), default=default, help="storage (default: %(default)s)")
    return parser


def raise_interrupt(*_: object) -> None:
    """Handle SIGTERM like Ctrl-C, so that Ray and the S3 server are stopped."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, raise_interrupt)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("demo: interrupted. Results are kept, and the next run continues from them.")
