"""The models that an application answers with, as its handlers see them.

``hot_swap.py`` loads and swaps models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from synthray.errors import RequestError

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor

MODEL_NAME = "synthray"
BASE = f"/v1/models/{MODEL_NAME}"
"""Path of the model in TensorFlow Serving's REST API."""
BASES = (BASE, f"{BASE}/versions/{{version:segment}}", f"{BASE}/labels/{{label:segment}}")
"""Paths without a model, with a version, and with a label. A ``segment`` ends at a slash or a colon."""
STABLE = "stable"
"""Label of the promoted or only model."""


@dataclass(frozen=True)
class Served:
    """One model that answers requests."""

    predictor: Predictor
    version: int = 1
    """Number of the model in its registry (``synthray.model.registry.model_number``)."""
    label: str = STABLE


class Models(Protocol):
    """The source of models, which may be swapped between two requests."""

    @property
    def served(self) -> tuple[Served, ...]:
        """The models that answer requests, the stable one first; none before the first one is ready."""

    @property
    def last_error(self) -> str | None:
        """The reason why the configured or promoted model is not served; None if it is."""

    def choose(self) -> Served:
        """Return the model for a request that names none; raise RequestError 503 if there is none."""


@dataclass(frozen=True)
class FixedModels:
    """Models that are never swapped."""

    served: tuple[Served, ...] = ()
    last_error: str | None = None

    def choose(self) -> Served:
        """Return the first model."""
        return require_ready(self)


def require_ready(models: Models) -> Served:
    """Return the stable model; raise RequestError 503 if no model is ready."""
    if not models.served:
        raise RequestError(503, "no model is ready yet. Retry in a few seconds.")
    return models.served[0]


def require_name(name: str) -> None:
    """Raise RequestError 404 unless ``name`` is the model's."""
    if name != MODEL_NAME:
        raise RequestError(404, f"model {name!r} does not exist. The model is {MODEL_NAME!r}.")


def announcement(name: str, url: str) -> str:
    """Return the lines that tell people that a model is served at a URL, and how to send it a sound."""
    return f"serving {name} at {url}   (Ctrl-C stops it)\n  curl --data-binary @sound.wav {url}{BASE}:match"


def model_labels(served: Served | None) -> dict[str, str]:
    """Return the labels of metrics that name a model."""
    return {"version": str(served.version), "label": served.label} if served else {"version": "", "label": ""}


def choose(models: Models, *, version: str | None = None, label: str | None = None, predicts: bool = True) -> Served:
    """Return the model of a version or of a label, or the one that ``models`` chooses.

    Args:
        predicts: True if the request wants a prediction. Any other request that names no model gets the stable one.

    Raises:
        RequestError: 404, no such model is served; 503, no model is ready.
    """
    stable = require_ready(models)
    if version is None and label is None:
        return models.choose() if predicts else stable
    for served in models.served:
        if version == str(served.version) or label == served.label:
            return served
    named = f"version {version!r}" if label is None else f"label {label!r}"
    known = ", ".join(f"version {served.version} ({served.label})" for served in models.served)
    raise RequestError(404, f"{MODEL_NAME} serves no {named}. It serves {known}.")
