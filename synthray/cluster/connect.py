"""The connection of a job to a Ray cluster.

Ray itself waits minutes for a cluster that has ended. Clusters are started by ``infra`` and by Ray's own tools.
"""

from __future__ import annotations

import contextlib
import logging
import os

import ray
import ray.data

from synthray.cluster.local_ray import LOCAL_RAY, python_of_workers, writable_places
from synthray.cluster.ray_address import VARIABLE, cluster_address, starts_cluster
from synthray.errors import ConfigError, summary


def connect(*, verbose: bool = False, quiet: str = "ray.data") -> None:
    """Join the cluster that this process was started for, or start a local one.

    Args:
        verbose: show the output of workers, Ray's log and Ray Data's progress bars.
        quiet: name of the logger to silence unless ``verbose``.

    Raises:
        ConfigError: ``RAY_ADDRESS`` names no cluster that answers, or a local Ray has no folder that it can write.
    """
    level = logging.INFO if verbose else logging.ERROR
    if not ray.is_initialized():
        for name, value in LOCAL_RAY.items():
            os.environ.setdefault(name, value)
        address = cluster_address()
        if VARIABLE in os.environ:
            os.environ[VARIABLE] = os.environ[VARIABLE].strip()  # Ray also reads it
        is_new = starts_cluster(address)
        try:
            with writable_places() if is_new else contextlib.nullcontext():
                # The dashboard takes 2 s to start, and no message gives its address.
                ray.init(
                    address,
                    log_to_driver=verbose,
                    logging_level=level,
                    include_dashboard=False,
                    runtime_env=python_of_workers() if is_new else None,
                )
        except ConnectionError as error:
            raise ConfigError(f"{VARIABLE}: no cluster can be joined ({summary(error)}).") from error
    logging.getLogger(quiet).setLevel(logging.INFO if verbose else logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    # Our jobs show their own progress.
    context.enable_progress_bars = verbose
    # Ray Data reserves CPUs per operator. With one operator that idles half of a two-core machine.
    context.op_resource_reservation_enabled = False
