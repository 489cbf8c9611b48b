"""A training in MLflow: its settings, its data set, its epochs and its model."""

from __future__ import annotations

import importlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from synthray.data.manifest import Manifest
from synthray.data.open import name_of
from synthray.errors import ConfigError, Stopped, StorageError
from synthray.storage import open_parent
from synthray.train.config import TrainConfig
from synthray.train.reports import EpochReport

_EXPERIMENT = "synthray"
_RUN_TAG, _DIGEST_TAG = "synthray.run", "synthray.data_digest"
# MLflow's own retry timeout is minutes, while a training ends; what did not get through is tried again here. And how MLflow
# is used here is nobody's business.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# The most that MLflow takes of a data set's digest, and of settings at once.
_DIGEST_LETTERS, _PARAMS_AT_ONCE = 36, 100


@dataclass(frozen=True)
class Tracking:
    """Where to log: the URI of an MLflow server or store, and the name of an experiment there."""

    uri: str
    experiment: str

    @classmethod
    def find(cls) -> Tracking:
        """The place that MLflow's own variables name, once it is seen to answer; to be called before anything starts.

        Raises:
            ConfigError: MLflow is not installed, or MLFLOW_TRACKING_URI is not set.
            StorageError: what it names cannot be used.
        """
        try:
            importlib.import_module("mlflow")
        except ImportError:
            raise ConfigError("MLflow is not installed here: pip install 'synthray[mlflow]'") from None
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            raise ConfigError("set MLFLOW_TRACKING_URI to an MLflow server, such as http://127.0.0.1:5000")
        place = cls(_absolute(uri), os.environ.get("MLFLOW_EXPERIMENT_NAME") or _EXPERIMENT)
        try:
            place.experiment_id(place.client())
        except Exception as error:
            raise StorageError(f"MLflow at {uri} cannot be used: {_first_line(error)}") from None
        return place

    def client(self) -> Any:
        """An MLflow client for the place."""
        for name, value in _SETTINGS.items():  # unless they are set
            os.environ.setdefault(name, value)
        # by name: MLflow is an extra
        return importlib.import_module("mlflow").MlflowClient(self.uri)

    def experiment_id(self, client: Any) -> str:
        """Of the experiment, which is made where it is not there yet."""
        found = client.get_experiment_by_name(self.experiment)
        return found.experiment_id if found else client.create_experiment(self.experiment)


def _absolute(uri: str) -> str:
    """Workers run in folders of their own."""
    if uri.startswith("sqlite:///"):
        return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).absolute()}"
    if uri.startswith("file:"):
        return Path(unquote(urlsplit(uri).path)).absolute().as_uri()
    if "://" in uri or uri.startswith("databricks"):
        return uri
    return Path(uri).expanduser().absolute().as_uri()


class MlflowLog:
    """Logs a training to one run of MLflow, which it goes on with when the training is resumed.

    What is to be logged is sent in a thread. What cannot be sent now is told once and tried again after the next epoch
    and at the end: trouble with MLflow is none of the training's.

    >>> with MlflowLog(Tracking.find(), config, manifest, print) as log:
    ...     log(report)
    ...     log.saved("models/model_9_20.keras", history)
    """

    def __init__(self, place: Tracking, config: TrainConfig, manifest: Manifest, tell: Callable[[str], None]) -> None:
        self._place, self._config, self._manifest, self._tell = place, config, manifest, tell
        self._epochs: dict[int, dict[str, float]] = {}
        self._sent: set[int] = set()
        self._model = self._status = ""
        self._client: Any = None
        self._run_id = ""
        self._translate_write_errors = False
        self._sender = ThreadPoolExecutor(1, "mlflow")
        self._sending: Future[None] | None = None

    def __enter__(self) -> MlflowLog:
        self._send_soon()
        return self

    def __call__(self, report: EpochReport) -> None:
        """Log an epoch; one that the run has already is passed over."""
        self._add(asdict(report))
        self._send_soon()

    def saved(self, uri: str, history: Iterable[dict[str, Any]] = ()) -> None:
        """Log the model at ``uri`` with its card, and those epochs of ``history`` that did not get through."""
        for report in history:
            self._add(report)
        self._model = uri
        self._send_soon()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        stopped = kind is not None and issubclass(kind, (Stopped, KeyboardInterrupt))
        self._status = "FINISHED" if kind is None else "KILLED" if stopped else "FAILED"
        self._sender.submit(self._send)
        self._sender.shutdown()

    def _add(self, report: dict[str, Any]) -> None:
        self._epochs[report["epoch"]] = {name: report[name] for name in report if name not in ("epoch", "epochs")}

    def _send_soon(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = self._sender.submit(self._send)

    def _send(self) -> None:
        """Whatever the run does not have yet."""
        try:
            if not self._run_id:
                self._client = self._place.client()
                self._run_id = self._begin()
            for epoch in sorted(self._epochs.keys() - self._sent):
                self._send_epoch(epoch)
            if self._model:
                self._send_model(self._model)
                self._model = ""
            if self._status:
                self._client.set_terminated(self._run_id, self._status)
        except Exception as error:
            if not self._translate_write_errors:
                self._translate_write_errors = True
                self._tell(f"MLflow at {self._place.uri}: {_first_line(error)}; the training goes on")

    def _begin(self) -> str:
        """Find the run of this training, or create it; gives its id."""
        digest = self._config.run_digest(self._manifest)
        experiment = self._place.experiment_id(self._client)
        found = self._client.search_runs([experiment], f"tags.`{_RUN_TAG}` = '{digest}'", max_results=1)
        if found:
            return self._resume(found[0])
        tags = {_RUN_TAG: digest, _DIGEST_TAG: self._manifest.digest}
        name = f"{name_of(self._config.data)} {self._config.network} {digest[:8]}"
        run_id = self._client.create_run(experiment, tags=tags, run_name=name).info.run_id
        entities = importlib.import_module("mlflow.entities")
        params = [entities.Param(name, str(value)) for name, value in self._config.to_json().items()]
        self._client.log_batch(run_id, params=params[:_PARAMS_AT_ONCE])
        source = json.dumps({"uri": self._config.data})
        data = entities.Dataset(name_of(self._config.data), self._manifest.digest[:_DIGEST_LETTERS], "synthray", source)
        self._client.log_inputs(run_id, datasets=[entities.DatasetInput(data)])
        return run_id

    def _resume(self, run: Any) -> str:
        """Go on with a run. What MLflow calls a parameter stays as it is; those that differ now become tags."""
        run_id = run.info.run_id
        self._client.update_run(run_id, status="RUNNING")
        for name, value in self._config.to_json().items():
            if run.data.params.get(name, str(value)) != str(value):
                self._client.set_tag(run_id, f"synthray.{name}", str(value))
        self._sent |= {metric.step for metric in self._client.get_metric_history(run_id, "val_loss")}
        return run_id

    def _send_epoch(self, epoch: int) -> None:
        metric = importlib.import_module("mlflow.entities").Metric
        now_ms = int(time.time() * 1000)
        values = [metric(name, value, now_ms, epoch) for name, value in self._epochs[epoch].items()]
        self._client.log_batch(self._run_id, metrics=values)
        self._sent.add(epoch)

    def _send_model(self, uri: str) -> None:
        store, name = open_parent(uri)
        with tempfile.TemporaryDirectory(prefix="synthray-mlflow-") as folder:
            for each in (name, f"{Path(name).stem}.json"):
                file = Path(folder, each)
                file.write_bytes(store.read(each))
                self._client.log_artifact(self._run_id, str(file), "model")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
