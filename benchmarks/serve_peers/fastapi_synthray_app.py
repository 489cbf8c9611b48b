"""FastAPI under uvicorn without batching, with synthray's predictor, to compare HTTP layers on equal terms.

    SERVED_MODEL=model.keras python benchmarks/serve_peers/fastapi_synthray_app.py PORT

It needs FastAPI in synthray's environment.
"""

import os
import sys

import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from synthray.model.predictor import Predictor

app = FastAPI()
predictor = Predictor.load(os.environ["SERVED_MODEL"])


class Instances(BaseModel):
    instances: list[list[list[float]]]


class Predictions(BaseModel):
    predictions: list[dict[str, list[float]]]


@app.post("/raw")
async def predict_raw(request: Request) -> Predictions:
    features = np.frombuffer(await request.body(), np.float32).reshape(-1, predictor.frames, predictor.bins)
    return await run_in_threadpool(_predict, features)


@app.post("/json")
def predict_json(body: Instances) -> Predictions:
    return _predict(np.array(body.instances, np.float32))


def _predict(features: np.ndarray) -> Predictions:
    outputs = {name: values.tolist() for name, values in predictor.predict(features).items()}
    rows = zip(*outputs.values(), strict=True)
    return Predictions(predictions=[dict(zip(outputs, row, strict=True)) for row in rows])


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
