"""The Ray Serve deployment of the HTTP application: replicas, their limits, and their models.

The application itself is in ``synthray.serve.app``. A Serve configuration file names this module::

    applications:
      - name: synthray
        import_path: synthray.cluster.serving.deployment:build
        args: {model: "s3://bucket/models/model_9_20.keras"}

If ``model`` is a folder, each replica polls it and swaps its model when another one is promoted. Replicas swap one by
one, so both models answer for some seconds. A new ``user_config: {model: URI}`` also swaps the model without a restart;
its fields are those of :class:`synthray.serve.config.ModelsConfig`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import BackpressureConfig
from starlette.applications import Starlette

from synthray.cluster.serving.grpc_ingress import GrpcIngress
from synthray.cluster.serving.log import log_to_serve
from synthray.memory import prepare_for_requests
from synthray.serve.config import AppConfig, ReplicaConfig, from_values
from synthray.serve.http.access import tokens_from_environment
from synthray.serve.models.hot_swap import HotSwapModels
from synthray.serve.models.load import require_usable

APPLICATION = "synthray"
MAX_REQUESTS = 1024
"""Requests that a replica takes at the same time; the application's own limits are lower and answer with 429."""
MAX_QUEUED_REQUESTS = 256
"""Requests that wait at each proxy while no replica can take them; further ones are answered with 429."""


@serve.deployment(
    name=APPLICATION,
    max_ongoing_requests=MAX_REQUESTS,
    max_queued_requests=MAX_QUEUED_REQUESTS,
    backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
    health_check_period_s=10,
)
@serve.ingress()
class ModelServer(GrpcIngress, HotSwapModels):
    """One replica: the served models and their HTTP application in one process.

    Args:
        config: limits of the application.
        follow_s: seconds between polls of the followed folder.
        tokens: bearer tokens of the job that deploys; those of the replica's own environment are accepted too.
    """

    def __init__(self, config: AppConfig, follow_s: float, tokens: tuple[str, ...] = ()) -> None:
        log_to_serve()
        super().__init__(follow_s)
        self._config, self._owner = config, ""
        self._tokens = tuple({*tokens, *tokens_from_environment()})

    def __serve_build_asgi_app__(self) -> Starlette:
        """Return the ASGI application; Serve calls this after the constructor."""
        from synthray.cluster.serving.metrics import RayMetrics
        from synthray.serve.app import build_app  # the job that deploys the service does not need it
        from synthray.serve.service import Service

        self.service = Service(self, self._config, RayMetrics(), self._tokens)
        return build_app(self.service)

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Load and serve the models that ``user_config`` names.

        Running requests finish on the model that they started with. The first models must load. If later
        models fail, the replica keeps its models and reports the error. Serve stops every replica that raises here.
        """
        settings = dict(user_config)
        self._owner = settings.pop("owner", "")
        await self.load(settings)

        from synthray.serve.sounds.matching import warm_up

        await warm_up(self.service)  # Serve has built the application before
        prepare_for_requests()

    async def owner(self) -> str:
        """Return ``ReplicaConfig.owner``, the token of the job that deployed it."""
        return self._owner

    async def check_health(self) -> None:
        """Raise if the stable model's outputs are not usable; Serve then replaces the replica."""
        if self.stable is None:
            raise RuntimeError("no model is loaded")
        await asyncio.to_thread(require_usable, self.stable.predictor)


def build(args: dict[str, Any]) -> Application:
    """Return the Serve application for the fields of :class:`.ReplicaConfig`.

    Tokens are bound as an argument. In a runtime environment they would appear in Ray's logs and in its dashboard.

    Raises:
        ConfigError: a name is unknown or a value invalid.
    """
    config = from_values(ReplicaConfig, args)
    deployment = ModelServer.options(  # type: ignore[attr-defined]  # the decorator returns a Deployment
        num_replicas=config.replicas,
        ray_actor_options={"num_cpus": config.num_cpus},
        user_config={**vars(config.models), "owner": config.owner},
        max_constructor_retry_count=2,
    )
    return deployment.bind(config.app, config.follow_s, tokens_from_environment())
