"""The HTTP application on Ray Serve: replicas, batches of concurrent requests, models swapped in place.

From a Serve configuration file::

    applications:
      - name: synthray
        import_path: synthray.cluster.deployment:build
        args: {model: "s3://bucket/models/model_9_20.keras"}

Where ``model`` is a folder, each replica looks at it every few seconds and swaps its model in place when another one
was promoted there; for as long as a model takes to load, some replicas answer with the new one and some with the old.
A new ``user_config: {model: URI}`` for the deployment swaps the model without a restart, too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import serve
from ray.serve import Application
from starlette.applications import Starlette

from synthray.serve.app import build_app
from synthray.serve.config import AppConfig, ReplicaConfig
from synthray.serve.hot_swap import HotSwapModel

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor

APPLICATION = "synthray"
MAX_BATCH_REQUESTS = 32
# A request of this many sounds fills the cores by itself: waiting for company would only delay it and the others.
ROWS_WORTH_A_BATCH = 64


@serve.deployment(name=APPLICATION, max_ongoing_requests=4 * MAX_BATCH_REQUESTS, health_check_period_s=10)
@serve.ingress()
class ModelServer:
    """One replica: a model, its preprocessing and the HTTP application in one process. Implements ``app.Models``."""

    def __init__(
        self, max_body_bytes: int = AppConfig.max_body_bytes, follow_s: float = ReplicaConfig.follow_s
    ) -> None:
        self._config = AppConfig(max_body_bytes)
        self._current = HotSwapModel(follow_s)
        self._owner = ""

    def __serve_build_asgi_app__(self) -> Starlette:
        """What Serve asks for once the replica's constructor is done."""
        return build_app(self, self._config)

    @property
    def predictor(self) -> Predictor | None:
        """The model that answers; None before the first :meth:`reconfigure`."""
        return self._current.predictor

    @property
    def failed(self) -> str | None:
        """Why the model asked for last is not the one that answers; None when it is."""
        return self._current.failed

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Load ``user_config["model"]``, then let it answer; requests under way finish on the model they began with.

        The first model must load. A later one that does not leaves the one that answers in its place, because a
        replica that fails here would be stopped, and so would all others: the model's status tells of it instead.
        """
        asked = dict(user_config)
        self._owner = asked.pop("owner", "")
        await self._current.take(asked)

    async def owner(self) -> str:
        """Who deployed it, as ``ReplicaConfig`` says."""
        return self._owner

    async def check_health(self) -> None:
        """Raise unless the model still answers a silent sound with finite numbers; Serve then replaces the replica."""
        predictor = self.predictor
        if predictor is None:
            raise RuntimeError("no model is loaded")
        silence = np.zeros((1, predictor.frames, predictor.bins), np.float32)
        outputs = await asyncio.to_thread(predictor.predict, silence)
        if not all(np.isfinite(values).all() for values in outputs.values()):
            raise RuntimeError(f"{predictor.card.name} answers silence with numbers that are not finite")

    async def predict(self, predictor: Predictor, features: np.ndarray) -> dict[str, np.ndarray]:
        """``predictor.predict(features)``, small requests together with those that arrive meanwhile."""
        if len(features) >= ROWS_WORTH_A_BATCH:
            return await asyncio.to_thread(predictor.predict, features)
        return await self._predict_together((predictor, features))

    # No waiting: a batch is what arrived while the one before it was computed.
    @serve.batch(max_batch_size=MAX_BATCH_REQUESTS, batch_wait_timeout_s=0.0)
    async def _predict_together(self, requests: list[tuple[Predictor, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        from synthray.model.predictor import predict_together

        return await asyncio.to_thread(predict_together, requests)


def build(args: dict[str, Any]) -> Application:
    """The Serve application for ``args`` (the fields of :class:`.ReplicaConfig`); raises ConfigError."""
    config = ReplicaConfig.from_args(args)
    deployment = ModelServer.options(
        num_replicas=config.replicas,
        ray_actor_options={"num_cpus": config.num_cpus},
        user_config={"model": config.model, "follow": config.follow, "owner": config.owner},
        max_constructor_retry_count=2,
    )
    return deployment.bind(config.max_body_bytes, config.follow_s)
