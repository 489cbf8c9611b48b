"""LitServe with dynamic batching: one HTTP process and one process with the model.

SERVED_MODEL=model.keras python benchmarks/serve_peers/litserve_app.py PORT
"""

import sys
from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Body
from keras_model import KerasModel, decode


class KerasApi(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        self._model = KerasModel()

    # FastAPI passes a body of another type than JSON as bytes.
    def decode_request(self, request: Annotated[bytes | dict[str, Any], Body()]) -> np.ndarray:
        return decode(request) if isinstance(request, bytes) else np.array(request["instances"], np.float32)

    def batch(self, inputs: list[np.ndarray]) -> tuple[np.ndarray, list[int]]:
        return np.concatenate(inputs), np.cumsum([len(features) for features in inputs]).tolist()

    def predict(self, batch: tuple[np.ndarray, list[int]]) -> tuple[list[dict[str, list[float]]], list[int]]:
        features, ends = batch
        return self._model.predict(features), ends

    def unbatch(self, output: tuple[list[dict[str, list[float]]], list[int]]) -> list[list[dict[str, list[float]]]]:
        rows, ends = output
        return [rows[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def encode_response(self, output: list[dict[str, list[float]]]) -> dict[str, list[dict[str, list[float]]]]:
        return {"predictions": output}


if __name__ == "__main__":
    # The default batch_timeout of 0 takes the requests that wait, which is faster here at each number of clients.
    api = KerasApi(max_batch_size=32)
    server = litserve.LitServer(api, accelerator="cpu", fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
