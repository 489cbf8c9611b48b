"""An application on Ray Serve that reads each request and answers at once, to find the limit of Serve's proxy.

python benchmarks/serve_peers/ray_ceiling.py PORT
"""

import signal
import sys

from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse


@serve.deployment(max_ongoing_requests=100)
class Ceiling:
    """Reads a body block by block, as synthray does."""

    async def __call__(self, request: Request) -> JSONResponse:
        """Return an empty answer."""
        async for _ in request.stream():
            pass
        return JSONResponse({"predictions": []})


if __name__ == "__main__":
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Ceiling.bind())
    signal.pause()
