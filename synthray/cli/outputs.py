"""Check that outputs outlive the command: a submitted job runs in a folder that Ray may delete."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

from synthray.errors import ConfigError
from synthray.storage import open_store

SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Environment variable that ``ray job submit`` sets for the command; it holds the job's runtime environment."""

_FLAGS = {"out": "--out", "out_dir": "--out-dir", "wav": "--wav", "registry": "--registry"}


def require_kept_outputs(arguments: Namespace) -> None:
    """Raise ConfigError if a flag, or ``SYNTHRAY_HOME``, names a place that is lost with a submitted job."""
    for name, flag in _FLAGS.items():
        require_kept(flag, getattr(arguments, name, None))
    require_kept("SYNTHRAY_HOME", os.environ.get("SYNTHRAY_HOME"))


def require_kept(name: str, uri: str | None) -> None:
    """Raise ConfigError if this is a submitted job and the URI is below its working directory.

    Args:
        name: the flag or environment variable, for the message.
        uri: URI of the output; None or empty if the flag is not given.
    """
    if SUBMITTED not in os.environ or not uri:
        return
    relative = "://" not in uri and not uri.startswith(("/", "~"))
    if relative or _is_in_rays_copy(uri):
        raise ConfigError(
            f"{name} is {uri!r}, and results are written there. A submitted job runs in a folder that Ray chooses and "
            "may delete. Give an absolute path of your own, or s3://bucket/prefix."
        )


def _is_in_rays_copy(uri: str) -> bool:
    """Return whether a local URI is below the working directory that was uploaded with the job."""
    place = open_store(uri).uri
    uploaded = '"working_dir"' in os.environ[SUBMITTED]
    return uploaded and "://" not in place and Path(os.path.realpath(place)).is_relative_to(os.path.realpath("."))
