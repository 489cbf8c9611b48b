"""A serving job's session: connect, deploy the application, watch it, and remove it.

Replicas and the application's arguments are in ``deployment.py``.
"""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from synthray.cluster.connect import connect
from synthray.cluster.serving.deployment import APPLICATION, build
from synthray.cluster.serving.grpc_ingress import grpc_options, require_listening
from synthray.cluster.serving.own_status import NO_ANSWER, model_status
from synthray.cluster.signals import StopRequest, sigterm_ignored, stop_requests
from synthray.errors import SynthrayError, summary
from synthray.model.registry import served_model
from synthray.serve.config import Address, ReplicaConfig
from synthray.serve.http.tls import require_certificate
from synthray.serve.models.served import announcement
from synthray.storage import open_store

POLL_S = 5.0
DEPLOY_POLL_S = 0.2
FIRST_ANSWER_TIMEOUT_S = 30.0
MAX_STATUS_FAILURES = 12
"""Polls in a row without a status before the session ends: a restart of Serve's controller takes some seconds."""
STUCK_S = 600.0
"""Seconds after which Serve gives up a request, in addition to the time of the longest search."""
_QUIET_LOGS = {"log_level": "WARNING", "enable_access_log": False}


def serve_until_stopped(
    config: ReplicaConfig,
    address: Address,
    *,
    take_over: bool = False,
    announce: Callable[[str], None] | None = None,
    verbose: bool = False,
) -> None:
    """Serve ``config.model`` until SIGTERM or SIGINT, then remove the application.

    Joins the cluster that ``RAY_ADDRESS`` or the job's environment names, or starts a local Ray. Also stops Serve if
    this session, or the one that it replaced, started it. If ``config.model`` is a folder, its promotions are followed.

    Args:
        take_over: replace a running application of this name. The job that serves it ends.
        announce: receives the lines for people instead of stdout: the URL, and the model at each change.

    Raises:
        ConfigError: the certificate cannot be used.
        NotFound: there is no such model, or the promoted one is missing.
        ModelError: the model cannot be used.
        SynthrayError: the address is in use, or the application runs already and ``take_over`` is False. Later: the
            application was removed, or another job replaced it.
    """
    announce = announce or partial(print, flush=True)  # flush: a job's caller waits for the line in its log
    grpc_options(address)  # refuses an address before anything starts
    require_certificate(address)
    config = _resolve_model(config)
    connect(verbose=verbose, quiet="ray.serve")
    with stop_requests() as requested:
        running = _running_applications()
        _check_startable(running, address, take_over=take_over)
        try:
            _deploy(config, address, requested)
            model = _first_answer(address, requested)
            require_listening(address)
            with suppress(KeyboardInterrupt):  # a second signal also ends the session in order
                _watch(config.owner, address, model, announce, requested)
        finally:
            _leave(config.owner, with_serve=running is None or APPLICATION in running)


def _resolve_model(config: ReplicaConfig) -> ReplicaConfig:
    """Return the configuration with one file for each model, their folder and an owner token.

    The files are fixed here, because replicas that start later must serve the same models as the others.
    """
    follow = open_store(config.folder).uri if config.folder else ""
    canary = served_model(config.canary) if config.canary else ""
    return replace(config, model=served_model(config.model), follow=follow, canary=canary, owner=uuid.uuid4().hex)


def _running_applications() -> list[str] | None:
    """Return the names of the running applications; None if Serve does not run."""
    status = serve.status()
    return list(status.applications) if status.proxies or status.applications else None


def _check_startable(running: list[str] | None, address: Address, *, take_over: bool) -> None:
    """Raise SynthrayError if the address is in use or the application runs already."""
    if running is None:
        address.check_free()
    elif APPLICATION in running and not take_over:
        raise SynthrayError(
            f"application {APPLICATION!r}: already runs on this cluster. Stop its job, or replace it with --replace."
        )


def _deploy(config: ReplicaConfig, address: Address, requested: StopRequest) -> None:
    """Start Serve and the application, and return when the application runs.

    Raises:
        SynthrayError: Serve or the application cannot start.
        KeyboardInterrupt: a stop was requested meanwhile.
    """
    try:
        serve.start(
            http_options=_http_options(config, address),
            grpc_options=grpc_options(address),
            logging_config=_QUIET_LOGS,
        )
    except (RuntimeError, RayError) as error:
        raise SynthrayError(f"Serve cannot start at {address.url}: {summary(error)}") from error
    # Not serve.run: it blocks until the application runs, and no stop request would end it.
    target = serve.RunTarget(build(vars(config)), APPLICATION, "/", _QUIET_LOGS)
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    while not requested.wait(DEPLOY_POLL_S):
        application = serve.status().applications.get(APPLICATION)
        if application is None:
            raise SynthrayError(f"application {APPLICATION!r}: removed by another job while it started.")
        if application.status == ApplicationStatus.RUNNING:
            return
        if application.status == ApplicationStatus.DEPLOY_FAILED:
            raise SynthrayError(f"{config.model}: cannot be served ({_cause(application)})")
    raise requested.interruption()


def _http_options(config: ReplicaConfig, address: Address) -> dict[str, Any]:
    """Return Serve's options for the address, with absolute paths because its proxies run in another folder."""
    options = {"host": address.host, "port": address.port, "request_timeout_s": STUCK_S + config.max_refine_s}
    if address.tls_cert:
        files = {"ssl_keyfile": address.tls_key, "ssl_certfile": address.tls_cert}
        options |= {name: str(Path(file).resolve()) for name, file in files.items()}
    return options


def _cause(application: ApplicationStatusOverview) -> str:
    """Return the line of a failed application's status that states the cause."""
    messages = [each.message for each in application.deployments.values() if each.message] or [application.message]
    # Serve puts its own sentences before the replica's traceback.
    _, mark, traceback = "\n".join(messages).rpartition("Traceback (most recent call last)")
    return summary(mark + traceback)


def _watch(owner: str, address: Address, model: str, announce: Callable[[str], None], requested: StopRequest) -> None:
    """Announce the URL and each change of the model until a stop is requested.

    Raises:
        SynthrayError: another job removed or replaced the application, or Serve's controller does not come back.
    """
    announce(announcement(model, address.url))
    announced, status_failures = (model, False), 0
    while not requested.wait(POLL_S):
        try:
            if APPLICATION not in (_running_applications() or ()):
                raise SynthrayError(f"application {APPLICATION!r}: removed by another job.")
            if _is_replaced(owner):
                raise SynthrayError(f"application {APPLICATION!r}: another job replaced it at {address.url}.")
            status_failures = 0
        except RayError as error:  # the controller may be restarting, so keep the application
            status_failures += 1
            if status_failures >= MAX_STATUS_FAILURES:
                raise SynthrayError(f"Serve: its controller does not answer ({summary(error)}).") from error
        with suppress(*NO_ANSWER):  # Serve restarts a proxy or replica by itself
            model, last_error = model_status(address)
            if announced != (announced := (model, bool(last_error))):
                announce(f"still serving {model}: {last_error}" if last_error else f"now serving {model}")


def _is_replaced(owner: str) -> bool:
    """Return whether another job replaced the application; False if unknown."""
    try:
        found = serve.get_app_handle(APPLICATION).owner.remote().result(timeout_s=POLL_S)
    except (RayServeException, RayError, TimeoutError):
        return False
    return found not in ("", owner)  # empty after a reconfiguration by hand


def _first_answer(address: Address, requested: StopRequest) -> str:
    """Return the name of the served model as a client sees it.

    Raises:
        SynthrayError: nothing answers at the address.
        KeyboardInterrupt: a stop was requested meanwhile.
    """
    deadline = time.monotonic() + FIRST_ANSWER_TIMEOUT_S
    while True:
        try:
            return model_status(address)[0]
        except NO_ANSWER as error:
            if time.monotonic() > deadline:
                raise SynthrayError(
                    f"{address.url}: the application runs, but nothing answers here ({error}). "
                    "Check whether Serve was started earlier on this cluster with another host or port."
                ) from None
        if requested.wait(DEPLOY_POLL_S):
            raise requested.interruption()


def _leave(owner: str, *, with_serve: bool) -> None:
    """Remove the application and leave the cluster."""
    # At the end Serve's controller exits by itself, and Ray prints that as two failed tasks.
    with sigterm_ignored(), redirect_stdout(io.StringIO()):
        _remove(owner, with_serve=with_serve)
        ray.shutdown()


def _remove(owner: str, *, with_serve: bool) -> None:
    """Remove the application, and Serve if no other application needs it.

    An application that another job deployed stays. Serve finishes the removal by itself if this process is killed
    meanwhile.
    """
    with suppress(RayServeException, RayError):  # a cluster that is gone needs no clean-up
        if _is_replaced(owner):
            return
        if with_serve and not set(_running_applications() or ()) - {APPLICATION}:
            serve.shutdown()
        else:
            serve.delete(APPLICATION)
