"""The HTTP application: its routes, its middleware and its errors.

    /v1/models/synthray…   TensorFlow Serving's REST API, :match, :render and :analyse
    /v2…                   Open Inference Protocol
    /openapi.json, /docs   description of all paths
    /healthz               readiness
    /                      web page that matches a sound

Handlers decode, compute and encode. Each long step runs in a thread, because the event loop must stay free.
``synthray.cluster.serving.deployment`` runs it on Ray Serve, ``process.py`` without Ray.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from synthray.serve.http.responses import EXCEPTION_HANDLERS, json_response
from synthray.serve.middleware import middleware
from synthray.serve.openapi.document import openapi
from synthray.serve.openapi.page import api_page
from synthray.serve.page_files import page_file
from synthray.serve.protocols import open_inference, tensorflow_serving
from synthray.serve.service import Service, model_for, service_of
from synthray.serve.sounds.matching import match_sounds
from synthray.serve.sounds.render_and_analyse import analyse_sound, render_preset


def build_app(service: Service) -> Starlette:
    """Return the ASGI application of a service."""
    routes = [
        # the busiest route first
        *tensorflow_serving.routes({"match": match_sounds, "render": render_preset, "analyse": analyse_sound}),
        *open_inference.routes(),
        Route("/healthz", health),
        Route("/openapi.json", openapi),
        Route("/docs", api_page),
        Route("/", page_file),
        Route("/page/{path:path}", page_file),
    ]
    if service.scraped:
        routes.append(Route("/metrics", metrics))
    app = Starlette(routes=routes, exception_handlers=EXCEPTION_HANDLERS, middleware=middleware(service))
    app.state.service = service
    return app


async def metrics(request: Request) -> Response:
    """Return the metrics for Prometheus."""
    scraped = service_of(request).scraped
    assert scraped  # otherwise there is no such route
    return Response(scraped(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def health(request: Request) -> Response:
    """Return the name of the served model, or 503 while there is none."""
    return json_response({"status": "ok", "model": model_for(request).predictor.card.name})
