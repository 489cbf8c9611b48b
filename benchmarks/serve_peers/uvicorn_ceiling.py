"""An application under uvicorn that reads each request and answers at once, to find uvicorn's limit.

python benchmarks/serve_peers/uvicorn_ceiling.py PORT
"""

import sys

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send


async def ceiling(scope: Scope, receive: Receive, send: Send) -> None:
    """Read a body block by block, as synthray does, and answer."""
    request = Request(scope, receive)
    async for _ in request.stream():
        pass
    await JSONResponse({"predictions": []})(scope, receive, send)


if __name__ == "__main__":
    uvicorn.run(ceiling, port=int(sys.argv[1]), lifespan="off", log_level="warning", access_log=False)
