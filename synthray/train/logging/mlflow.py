"""Log a training to MLflow: its settings, data set, epochs and model.

The server and its credentials are in ``synthray.train.logging.tracking``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from synthray.data.manifest import Manifest
from synthray.data.open import name_of
from synthray.errors import Stopped, summary
from synthray.storage import open_parent, scratch_folder
from synthray.train.config import TrainConfig
from synthray.train.logging.tracking import Tracking, without_login
from synthray.train.reports import POSITION, EpochReport

_RUN_TAG, _DIGEST_TAG = "synthray.run", "synthray.data_digest"
_MAX_DIGEST_LENGTH = 36
"""MLflow's limit for the digest of a data set."""


class MlflowLog:
    """The MLflow run of one training. A resumed training continues its run.

    A thread sends the entries. If that fails, the first failure is logged, and the training continues. Unsent entries
    are sent again after the next epoch and at the end.

    >>> with MlflowLog(Tracking.find(), config, manifest, print) as log:
    ...     log(report)
    ...     log.saved("models/model_9_20.keras", history)
    """

    def __init__(self, tracking: Tracking, config: TrainConfig, manifest: Manifest, log: Callable[[str], None]) -> None:
        self._tracking, self._config, self._manifest, self._log = tracking, config, manifest, log
        self._epochs: dict[int, dict[str, Any]] = {}
        self._sent: set[int] = set()
        self._model = ""
        self._client: Any = None
        self._run_id = ""
        self._failure_logged = False
        self._sender = ThreadPoolExecutor(1, "mlflow")
        self._sending: Future[None] | None = None

    def __enter__(self) -> MlflowLog:
        self._send_soon()
        return self

    def __call__(self, report: EpochReport) -> None:
        """Log an epoch, unless the run already has it."""
        self._epochs[report.epoch] = asdict(report)
        self._send_soon()

    def saved(self, uri: str, history: Iterable[dict[str, Any]] = ()) -> None:
        """Log the model at ``uri`` with its card, and the epochs of ``history`` that are still unsent."""
        self._epochs |= {report["epoch"]: report for report in history}
        self._model = uri
        self._send_soon()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        stopped = kind is not None and issubclass(kind, (Stopped, KeyboardInterrupt))
        self._sender.submit(self._send, "FINISHED" if kind is None else "KILLED" if stopped else "FAILED")
        self._sender.shutdown()

    def _send_soon(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = self._sender.submit(self._send)

    def _send(self, status: str = "") -> None:
        """Send everything that the run does not have yet, and its last status if there is one."""
        try:
            if not self._run_id:
                self._client = self._tracking.client()
                self._run_id = self._begin()
            for epoch in sorted(self._epochs.keys() - self._sent):
                self._send_epoch(epoch)
            if self._model:
                self._send_model(self._model)
                self._model = ""
            if status:
                self._client.set_terminated(self._run_id, status)
        except Exception as error:
            if not self._failure_logged:
                self._failure_logged = True
                reason = without_login(summary(error))
                self._log(f"MLflow at {self._tracking.uri}: {reason}. The training continues without it.")

    def _begin(self) -> str:
        """Find or create the run of this training and complete its entries; return its id."""
        digest = self._config.run_digest(self._manifest)
        experiment = self._tracking.experiment_id(self._client)
        found = self._client.search_runs([experiment], f"tags.`{_RUN_TAG}` = '{digest}'", max_results=1)
        if found:
            run = found[0]
            self._client.update_run(run.info.run_id, status="RUNNING")
            history = self._client.get_metric_history(run.info.run_id, "val_loss")
            self._sent |= {metric.step for metric in history}
        else:
            tags = {_RUN_TAG: digest, _DIGEST_TAG: self._manifest.digest}
            name = f"{name_of(self._config.data)} {self._config.network} {digest[:8]}"
            run = self._client.create_run(experiment, tags=tags, run_name=name)
        self._send_settings(run)
        self._send_data_set(run)
        return str(run.info.run_id)

    def _send_settings(self, run: Any) -> None:
        """Log the settings that a run lacks. Those that have changed become tags, because parameters cannot change."""
        from mlflow.entities import Param

        settings = {name: str(value) for name, value in self._config.to_json().items()}
        logged = run.data.params
        missing = [Param(name, value) for name, value in settings.items() if name not in logged]
        self._client.log_batch(run.info.run_id, params=missing)
        for name, value in settings.items():
            if logged.get(name, value) != value:
                self._client.set_tag(run.info.run_id, f"synthray.{name}", value)

    def _send_data_set(self, run: Any) -> None:
        """Log the data set, unless a run has it."""
        from mlflow.entities import Dataset, DatasetInput

        if run.inputs and run.inputs.dataset_inputs:
            return
        source = json.dumps({"uri": self._config.data})
        data = Dataset(name_of(self._config.data), self._manifest.digest[:_MAX_DIGEST_LENGTH], "synthray", source)
        self._client.log_inputs(run.info.run_id, datasets=[DatasetInput(data)])

    def _send_epoch(self, epoch: int) -> None:
        from mlflow.entities import Metric

        now_ms, report = int(time.time() * 1000), self._epochs[epoch]
        metrics = [Metric(name, report[name], now_ms, epoch) for name in report if name not in POSITION]
        self._client.log_batch(self._run_id, metrics=metrics)
        self._sent.add(epoch)

    def _send_model(self, uri: str) -> None:
        store, name = open_parent(uri)
        with scratch_folder("mlflow") as folder:
            for file_name in (name, f"{Path(name).stem}.json"):
                file = Path(folder, file_name)
                file.write_bytes(store.read(file_name))
                self._client.log_artifact(self._run_id, str(file), "model")
