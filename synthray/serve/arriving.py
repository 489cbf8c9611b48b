"""Predictions of a large raw body that begin before all of it has arrived.

So the network computes the first sounds while the connection still brings the last ones.
"""

from __future__ import annotations

import asyncio

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from synthray.model.predictor import Predictor
from synthray.serve.batching import MAX_BATCH_SOUNDS, Outputs
from synthray.serve.decode import decode_raw, raw_bytes
from synthray.serve.metrics import timed
from synthray.serve.request_body import body_blocks
from synthray.serve.service import Service


def is_large(request: Request, shape: tuple[int, int]) -> bool:
    """Return whether a raw body is uncompressed and holds more sounds than one batch.

    Args:
        request: whose headers have been received.
        shape: ``(frames, bins)``.
    """
    stated = request.headers.get("content-length", "0")
    length = int(stated) if stated.isascii() and stated.isdigit() else 0
    size = raw_bytes(shape)
    return length > MAX_BATCH_SOUNDS * size and length % size == 0 and "content-encoding" not in request.headers


async def predict_arriving(request: Request, service: Service, predictor: Predictor) -> Outputs:
    """Return the outputs for a body for which ``is_large`` is true, computed batch by batch.

    Raises:
        Busy: too many requests wait.
        RequestError: as ``body_blocks``; 400, a number is not finite.
    """
    shape = (predictor.frames, predictor.bins)
    size = MAX_BATCH_SOUNDS * raw_bytes(shape)
    batches: asyncio.Queue[bytes] = asyncio.Queue()

    async def compute() -> list[Outputs]:
        answers: list[Outputs] = []
        while batch := await batches.get():
            with timed(service.metrics, "decode"):
                features = await run_in_threadpool(decode_raw, batch, shape, len(answers) * MAX_BATCH_SOUNDS)
            answers.append(await service.batcher.predict(predictor, features))
        return answers

    try:
        async with asyncio.TaskGroup() as tasks:
            computing = tasks.create_task(compute())
            received = bytearray()
            async for block in body_blocks(request, service.config):
                received += block
                while len(received) >= size:
                    batches.put_nowait(bytes(memoryview(received)[:size]))
                    del received[:size]
            batches.put_nowait(bytes(received))
            batches.put_nowait(b"")
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    answers = computing.result()
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
