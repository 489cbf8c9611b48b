"""Find the MLflow server or store that a training logs to.

What is logged there is in ``synthray.train.logging.mlflow``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from synthray.errors import ConfigError, StorageError, summary

_URI_VARIABLE = "MLFLOW_TRACKING_URI"
# Fail fast, because failed calls are repeated after the next epoch. Telemetry off.
_CLIENT_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True)
class Tracking:
    """An experiment on an MLflow server or store.

    It is sent to workers and printed, so it holds no user or password. Each process takes these from its environment.
    """

    uri: str
    """URI of the server or store, without user and password."""
    experiment: str
    """Name of the experiment."""
    needs_login: bool = False
    """True if MLFLOW_TRACKING_URI had a user or a password."""

    @classmethod
    def find(cls) -> Tracking:
        """Return the experiment that MLflow's environment variables name, after one successful request.

        Raises:
            ConfigError: MLflow is not installed, or MLFLOW_TRACKING_URI is not set.
            StorageError: the server or store cannot be used.
        """
        try:
            import mlflow  # noqa: F401 - an optional dependency
        except ImportError:
            raise ConfigError("MLflow is not installed. Run pip install '.[mlflow]'.") from None
        if not os.environ.get(_URI_VARIABLE):
            raise ConfigError(f"{_URI_VARIABLE} is not set. Set it to an MLflow server, such as http://127.0.0.1:5000.")
        login_uri = _login_uri()
        uri = without_login(login_uri)
        tracking = cls(uri, os.environ.get("MLFLOW_EXPERIMENT_NAME") or "synthray", login_uri != uri)
        try:
            tracking.experiment_id(tracking.client())
        except Exception as error:
            raise StorageError(f"MLflow at {uri} cannot be used: {without_login(summary(error))}") from None
        return tracking

    def client(self) -> Any:
        """Return an MLflow client.

        Raises:
            ConfigError: this process's environment lacks the user and password of the URI.
        """
        uri = self.uri
        if self.needs_login:
            uri = _login_uri()
            if without_login(uri) != self.uri:
                raise ConfigError(
                    f"{_URI_VARIABLE} does not name this server on this node, and its password is not sent to workers. "
                    "Set it on every node."
                )
        for name, value in _CLIENT_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        return MlflowClient(uri)

    def experiment_id(self, client: Any) -> str:
        """Return the id of the experiment, created if it does not exist."""
        found = client.get_experiment_by_name(self.experiment)
        return str(found.experiment_id if found else client.create_experiment(self.experiment))


def without_login(text: str) -> str:
    """Return a URI, or a text with URIs, without ``user:password@``."""
    return re.sub(r"(\w://)[^/?#\s]*@", r"\1", text)


def _login_uri() -> str:
    """Return MLFLOW_TRACKING_URI with an absolute path, because each worker has its own working directory."""
    uri = os.environ.get(_URI_VARIABLE, "")
    if uri.startswith("sqlite:///"):
        return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).absolute()}"
    if uri.startswith("file:"):
        return Path(unquote(urlsplit(uri).path)).absolute().as_uri()
    if "://" in uri or uri.startswith("databricks"):
        return uri
    return Path(uri).expanduser().absolute().as_uri()
