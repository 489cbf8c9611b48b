"""The Ray Serve deployment of the HTTP application: replicas, request batching and hot swap.

The application itself is ``synthray.serve.app``'s concern. A Serve configuration file names this module::

    applications:
      - name: synthray
        import_path: synthray.cluster.deployment:build
        args: {model: "s3://bucket/models/model_9_20.keras"}

If ``model`` is a folder, each replica polls it and swaps its model when another one is promoted. Replicas swap one by
one, so both models answer for some seconds. A new ``user_config: {model: URI}`` also swaps the model without a restart.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from ray import serve
from ray.serve import Application
from starlette.applications import Starlette

from synthray.serve.access import tokens_from_environment
from synthray.serve.config import AppConfig, ReplicaConfig
from synthray.serve.hot_swap import HotSwapModel

APPLICATION = "synthray"
MAX_REQUESTS = 1024
"""Requests that a replica takes at the same time; the application's own limits are lower and answer with 429."""


@serve.deployment(name=APPLICATION, max_ongoing_requests=MAX_REQUESTS, health_check_period_s=10)
@serve.ingress()
class ModelServer(HotSwapModel):
    """One replica: the served models and their HTTP application in one process."""

    def __init__(self, config: AppConfig, follow_s: float = ReplicaConfig.follow_s) -> None:
        super().__init__(follow_s)
        self._config, self._owner = config, ""

    def __serve_build_asgi_app__(self) -> Starlette:
        """Return the ASGI application; Serve calls this after the constructor."""
        from synthray.serve.app import build_app  # the job that deploys the service does not need it
        from synthray.serve.service import Service

        return build_app(Service(self, self._config, tokens=tokens_from_environment()))

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Load and serve ``user_config["model"]``.

        Running requests finish on the model that they started with. The first model must load. If a later one fails,
        the replica keeps its model and reports the error in the model's status, because Serve would stop every replica
        that raises here.
        """
        model_config = dict(user_config)
        self._owner = model_config.pop("owner", "")
        await self.load(model_config)

    async def owner(self) -> str:
        """Return ``ReplicaConfig.owner``, the token of the job that deployed it."""
        return self._owner

    async def check_health(self) -> None:
        """Raise if outputs for silence are not finite; Serve then replaces the replica."""
        predictor = self.predictor
        if predictor is None:
            raise RuntimeError("no model is loaded")
        silence = np.zeros((1, predictor.frames, predictor.bins), np.float32)
        outputs = await asyncio.to_thread(predictor.predict, silence)
        if not all(np.isfinite(values).all() for values in outputs.values()):
            raise RuntimeError(f"{predictor.card.name}: outputs for silent features are not finite")


def build(args: dict[str, Any]) -> Application:
    """Return the Serve application for the fields of :class:`.ReplicaConfig`.

    Raises:
        ConfigError: a name is unknown or a value invalid.
    """
    config = ReplicaConfig.from_args(args)
    deployment = ModelServer.options(  # type: ignore[attr-defined]  # the decorator returns a Deployment
        num_replicas=config.replicas,
        ray_actor_options={"num_cpus": config.num_cpus},
        user_config={"model": config.model, "follow": config.follow, "owner": config.owner},
        max_constructor_retry_count=2,
    )
    return deployment.bind(config.app, config.follow_s)
