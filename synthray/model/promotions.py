"""The promotions of a registry and the numbers of its models, in ``promoted.json``.

That file lists all promotions, each with the SHA-256 of its model, and the last one counts. The file is replaced
atomically. Of two simultaneous promotions the later one wins, and the other may be missing from the history. Promotion
and rollback are in ``registry.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from synthray.errors import ModelError, NotFound
from synthray.model.saved import SUFFIX
from synthray.storage import Store

FORMAT = "synthray-promoted/1"
PROMOTIONS_FILE = "promoted.json"


@dataclass(frozen=True)
class Promotion:
    """One promotion of a model."""

    model: str
    """Path of the ``.keras`` file below the registry."""
    sha256: str
    promoted_at: str
    """UTC, ISO 8601."""

    def __post_init__(self) -> None:
        if not self.model.endswith(SUFFIX) or self.model.startswith("/") or ".." in self.model.split("/"):
            raise ValueError(f"{self.model!r} is not the path of a {SUFFIX} file below the registry")


@dataclass(frozen=True)
class Promotions:
    """All promotions of a registry, and the numbers that its models keep."""

    history: tuple[Promotion, ...] = ()
    """The promotion that counts is the last one."""
    numbers: dict[str, int] = field(default_factory=dict)
    """Number of each model that existed at the last promotion, by SHA-256. A number is never given to another model."""

    def __post_init__(self) -> None:
        numbers = list(self.numbers.values())
        if len(set(numbers)) < len(numbers) or not all(type(number) is int and number > 0 for number in numbers):
            raise ValueError(f"its versions are {numbers}, expected different whole numbers of 1 or more")

    @property
    def newest(self) -> Promotion | None:
        """Return the promotion that counts, or None if there is none."""
        return self.history[-1] if self.history else None

    def number(self, sha256s: Iterable[str]) -> dict[str, int]:
        """Return all numbers by SHA-256: the kept ones, and new ones for other models in the order of ``sha256s``."""
        numbers = dict(self.numbers)
        for sha256 in sha256s:
            numbers.setdefault(sha256, max(numbers.values(), default=0) + 1)
        return numbers

    def encode(self) -> bytes:
        """Return the promotions as a JSON file."""
        history = [asdict(promotion) for promotion in self.history]
        body = {"format": FORMAT, "history": history, "versions": self.numbers}
        return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()


def read_promotions(store: Store) -> Promotions:
    """Return the promotions of a registry.

    Raises:
        ModelError: ``promoted.json`` is corrupt.
        StorageError: the store cannot be reached.
    """
    name = f"{store.uri}/{PROMOTIONS_FILE}"
    try:
        body = json.loads(store.read(PROMOTIONS_FILE))
        if body["format"] != FORMAT or not body["history"]:
            raise ValueError(f"its format is not {FORMAT}")
        # Files of earlier releases have no versions.
        return Promotions(tuple(Promotion(**entry) for entry in body["history"]), dict(body.get("versions", {})))
    except NotFound:
        return Promotions()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{name} is corrupt ({type(error).__name__}: {error}). Delete it, then promote a model."
        ) from None
