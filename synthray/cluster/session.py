"""Serving from a job: find or start Ray and Serve, deploy, say where it is, wait, and take down what was put up."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import FrameType
from urllib.error import URLError
from urllib.request import urlopen

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from synthray.cluster.connect import connect
from synthray.cluster.deployment import APPLICATION, build
from synthray.errors import SynthrayError
from synthray.model.registry import default_registry, served_model
from synthray.model.saved import SUFFIX
from synthray.serve.app import MODEL_NAME
from synthray.serve.config import Address, ReplicaConfig
from synthray.storage import open_store

POLL_S = 5.0
ANSWER_WITHIN_S = 30.0
_NO_ANSWER = (URLError, OSError, ValueError, KeyError)


def serve_until_stopped(
    config: ReplicaConfig,
    address: Address,
    *,
    take_over: bool = False,
    announce: Callable[[str], None] | None = None,
    verbose: bool = False,
) -> None:
    """Serve ``config.model`` until SIGTERM or SIGINT, then remove the application, and Serve if it was started for it.

    Where it is a directory, or none, what is promoted there while it serves takes its place.

    Args:
        take_over: serve in the place of an application of this name that the cluster runs already. Its job then ends.
        announce: is given the lines for people, instead of the terminal: where it serves, and which model, whenever
            that changes.

    Connects to the cluster that ``RAY_ADDRESS`` or the job's environment names, else starts a local Ray.

    Raises:
        NotFound: there is no such model, or the promoted one is gone.
        ModelError: it cannot be used.
        SynthrayError: the address is taken, or another application of this name runs and ``take_over`` is False; or,
            later, the application was removed or another job took its place.
    """
    announce = announce or _print
    # A file, and beside it the directory to follow: while nothing is promoted there, a replica that starts later must
    # serve the same model as the others.
    place = config.follow or ("" if config.model.endswith(SUFFIX) else config.model or default_registry())
    follow = open_store(place).uri if place else ""
    config = replace(config, model=served_model(config.model), follow=follow, owner=uuid.uuid4().hex)
    connect(verbose=verbose, quiet="ray.serve")
    with _stopped_by_signals():
        was_running = _applications()
        if was_running is None:
            address.check_free()
        elif APPLICATION in was_running and not take_over:
            raise SynthrayError(
                f"an application {APPLICATION!r} already runs on this cluster; stop its job, or take its place with "
                "--replace"
            )
        try:
            _deploy(config, address)
            name = _first_answer(address)
            announce(_invitation(address, name))
            _wait(config.owner, address, name, announce)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # some send it twice; Ctrl-C still breaks this off
            with suppress(RayServeException, RayError):  # a cluster that is gone needs no clearing
                # What another job has put up in the place of this one is that job's to take down.
                if not _has_given_way(config.owner):
                    _remove(with_serve=was_running is None or APPLICATION in was_running)
            ray.shutdown()


def _applications() -> list[str] | None:
    """Names of the applications that Serve runs on this cluster; None when Serve does not run."""
    status = serve.status()
    return list(status.applications) if status.proxies or status.applications else None


def _has_given_way(owner: str) -> bool:
    """Whether another job has deployed the application in the place of this one's."""
    try:
        found = serve.get_app_handle(APPLICATION).owner.remote().result(timeout_s=POLL_S)
    except (RayServeException, RayError, TimeoutError):  # it is not there, or has no replica at the moment
        return False
    return found not in ("", owner)  # "" where someone gave the deployment a configuration of his own


def _deploy(config: ReplicaConfig, address: Address) -> None:
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    try:
        serve.start(http_options={"host": address.host, "port": address.port}, logging_config=quiet)
    except (RuntimeError, RayError) as error:
        raise SynthrayError(f"Serve cannot start at {address.url}: {str(error).splitlines()[-1]}") from error
    try:
        serve.run(build(vars(config)), name=APPLICATION, route_prefix="/", logging_config=quiet)
    except RuntimeError as error:
        raise SynthrayError(f"{config.model} cannot be served: {_cause(error)}") from error


def _cause(error: RuntimeError) -> str:
    """The last line of what the replica failed with, which Serve wraps in its own words and tracebacks."""
    application = serve.status().applications.get(APPLICATION)
    told = [deployment.message for deployment in application.deployments.values()] if application else []
    lines = [line.strip() for text in (str(error), *told) for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("synthray.errors.")]
    return errors[-1].partition(": ")[2] if errors else lines[-1]


def _first_answer(address: Address) -> str:
    """The name of the model that answers there, as a client sees it."""
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while True:
        try:
            return _answering(address)[0]
        except _NO_ANSWER as error:
            if time.monotonic() > deadline:
                raise SynthrayError(
                    f"the application runs, but {address.url} does not answer ({error}); was Serve started on this "
                    "cluster before, with another host or port?"
                ) from None
            time.sleep(0.2)


def _answering(address: Address) -> tuple[str, str]:
    """The model that answers, and why the one that was to take its place does not, or ''."""
    with urlopen(f"{address.url}/v1/models/{MODEL_NAME}", timeout=ANSWER_WITHIN_S) as answer:  # noqa: S310
        answering, *failed = json.load(answer)["model_version_status"]
    return answering["name"], failed[0]["status"]["error_message"] if failed else ""


def _invitation(address: Address, model: str) -> str:
    return (
        f"serving {model} at {address.url}   (Ctrl-C stops it)\n"
        f"  curl --data-binary @sound.wav {address.url}/v1/models/synthray:match"
    )


def _print(text: str) -> None:
    # At once, also into a job's log: whoever started this waits for the line.
    print(text, flush=True)


def _wait(owner: str, address: Address, name: str, announce: Callable[[str], None]) -> None:
    """Block until a signal comes, and tell when the model ``name`` gives way to another, or one cannot take its place.

    Raises:
        SynthrayError: someone else removed the application, or took its place.
    """
    told = name, False
    with suppress(KeyboardInterrupt):
        while True:
            with suppress(*_NO_ANSWER):  # Serve sees to it that there is one again
                name, failed = _answering(address)
                if told != (told := (name, bool(failed))):
                    announce(f"still serving {name}: {failed}" if failed else f"now serving {name}")
            time.sleep(POLL_S)
            if APPLICATION not in (_applications() or ()):
                raise SynthrayError(f"the application {APPLICATION!r} was removed by someone else")
            if _has_given_way(owner):
                raise SynthrayError(f"another job serves at {address.url} in the place of this one")


def _remove(*, with_serve: bool) -> None:
    """Take down what was put up, here or by the job whose place was taken: with Serve, unless others use it.

    Serve does it by itself once told, should this process be killed meanwhile.
    """
    if with_serve and not set(_applications() or ()) - {APPLICATION}:
        serve.shutdown()
    else:
        serve.delete(APPLICATION)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM, which a job is stopped with, end the wait as Ctrl-C does."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
