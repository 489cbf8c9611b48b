"""FastAPI under uvicorn without batching, with the model in Keras.

    SERVED_MODEL=model.keras python benchmarks/serve_peers/fastapi_app.py PORT

Endpoints are plain functions or await a thread, so the event loop stays free.
"""

import sys

import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from keras_model import KerasModel, decode
from pydantic import BaseModel

app = FastAPI()
model = KerasModel()


class Instances(BaseModel):
    instances: list[list[list[float]]]


class Predictions(BaseModel):
    predictions: list[dict[str, list[float]]]


@app.post("/raw")
async def predict_raw(request: Request) -> Predictions:
    features = decode(await request.body())
    return Predictions(predictions=await run_in_threadpool(model.predict, features))


@app.post("/json")
def predict_json(body: Instances) -> Predictions:
    return Predictions(predictions=model.predict(np.array(body.instances, np.float32)))


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
