"""BentoML with adaptive batching.

SERVED_MODEL=model.keras bentoml serve bentoml_service:KerasService --working-dir benchmarks/serve_peers --port PORT
"""

from typing import Annotated

import bentoml
import numpy as np
from keras_model import KerasModel, decode
from pydantic import BeforeValidator, WithJsonSchema

# A schema of the type string makes BentoML pass the body as it is, instead of parsing it as JSON.
RawFeatures = Annotated[np.ndarray, BeforeValidator(decode), WithJsonSchema({"type": "string", "format": "binary"})]
Features = Annotated[np.ndarray, bentoml.validators.DType("float32")]
Predictions = list[dict[str, list[float]]]


@bentoml.service(traffic={"timeout": 60})
class KerasService:
    def __init__(self) -> None:
        self._model = KerasModel()

    @bentoml.api(batchable=True, max_batch_size=512, max_latency_ms=1000)
    def raw(self, features: RawFeatures, /) -> Predictions:
        return self._model.predict(features)

    @bentoml.api(batchable=True, max_batch_size=512, max_latency_ms=1000)
    def json(self, instances: Features) -> Predictions:
        return self._model.predict(instances)
