"""An evaluation of models on a data set, and its JSON. Its text is in ``text.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthray.data.manifest import PRESETS, Manifest
from synthray.evaluate.bootstrap import LEVEL, REPLICATES, Estimate
from synthray.evaluate.examples import Example, choose_examples
from synthray.evaluate.matches import Matches
from synthray.evaluate.parts import BASELINES
from synthray.evaluate.scores import Score, Sums, mean_scores, scores
from synthray.match.distances.table import DISTANCES
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice

FORMAT = "synthray-evaluation/2"
CHANCE = "chance"

AS_GENERATED = "as generated"
RENDERED_AGAIN = "rendered again from their presets with noise seed 0"


@dataclass(frozen=True)
class Scores:
    """The scores of one model, or of chance, over all examples."""

    parameters: tuple[Score, ...]
    """In the order of the table."""
    means: tuple[Score, ...]
    """Mean over all choices, and over all ranges."""


@dataclass(frozen=True)
class Evaluation:
    """The results of models on examples of a data set."""

    models: Mapping[str, str]
    """URI of each model, by its unique name."""
    data: str
    """URI of the data set."""
    data_digest: str
    examples: str
    """``"holdout"`` for examples that no model was trained on, else ``"all"``."""
    rows: int
    scores: Mapping[str, Scores]
    """By name of the model; ``"chance"`` holds the scores of a constant answer."""
    knows_audible: bool = False
    """True if it is known which parameters can be heard. Otherwise all count as audible."""
    sounds: int = 0
    """Number of sounds whose distances were measured; 0 for a foreign instrument."""
    originals: str = AS_GENERATED
    """Origin of the sounds from which the distances are measured."""
    distances: Mapping[str, Mapping[str, Estimate]] | None = None
    """By name of the model or baseline, then of the distance; None if no sounds were measured."""
    listen: tuple[Example, ...] = ()
    """Matches to listen to."""

    @classmethod
    def make(
        cls,
        models: Mapping[str, str],
        refined: Sequence[str],
        uri: str,
        manifest: Manifest,
        examples: str,
        sums: Sums,
        matches: Matches,
    ) -> Evaluation:
        """Return the evaluation from the sums and the matches of all parts.

        Args:
            models: URI of each model by name. Their answers come first in ``sums`` and ``matches``.
            refined: names of the models' answers after a search. These answers come next in ``matches``.
            uri: the data set's URI.
            manifest: the data set's manifest.
            examples: kind of the examples.
            sums: sums for the models, then for chance.
            matches: answers of the models, refined answers, and answers of ``BASELINES``.
        """
        table, names = manifest.table, list(models)
        return cls(
            models=models,
            data=uri,
            data_digest=manifest.digest,
            examples=examples,
            rows=int(sums.rows[0]),
            scores={
                name: Scores(scores(table, sums, number), mean_scores(table, sums, number))
                for number, name in enumerate([*names, CHANCE])
            },
            knows_audible=table == INSTRUMENT,
            sounds=len(matches),
            originals=AS_GENERATED if manifest.content == PRESETS else RENDERED_AGAIN,
            distances={name: matches.estimates(number) for number, name in enumerate([*names, *refined, *BASELINES])}
            if len(matches)
            else None,
            listen=choose_examples(matches, [*names, *refined]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON values."""
        by_name = [(name, scored.parameters, scored.means) for name, scored in self.scores.items()]
        body: dict[str, Any] = {
            "format": FORMAT,
            "models": [{"name": name, "uri": uri} for name, uri in self.models.items()],
            "data": {"uri": self.data, "digest": self.data_digest, "examples": self.examples, "rows": self.rows},
            "interval": {"level": LEVEL, "method": "Poisson bootstrap", "replicates": REPLICATES},
            "mean": self._scores_to_json({name: means for name, _, means in by_name}),
            "parameters": self._scores_to_json({name: parameters for name, parameters, _ in by_name}),
        }
        if self.distances:
            body["distances"] = {
                "sounds": self.sounds,
                "originals": self.originals,
                "measures": [
                    {"name": d.name, "title": d.title, "unit": d.unit, "better": _better(d.higher_is_better)}
                    for d in DISTANCES
                ],
                "answers": {
                    answer: {name: found.to_json() for name, found in estimates.items()}
                    for answer, estimates in self.distances.items()
                },
            }
            body["examples"] = [example.to_json() for example in self.listen]
        return body

    def _scores_to_json(self, columns: Mapping[str, Sequence[Score]]) -> list[dict[str, Any]]:
        """Return an entry per parameter, with the score of each answer."""
        rows = []
        for same in zip(*columns.values(), strict=True):
            scored = {
                name: {
                    "all": score.over_all.to_json(),
                    **(
                        {"audible": score.where_audible and score.where_audible.to_json()} if self.knows_audible else {}
                    ),
                }
                for name, score in zip(columns, same, strict=True)
            }
            kind = same[0].kind
            better = _better(kind == Choice.kind)
            rows.append(
                {"name": same[0].name, "kind": kind, "measure": measure(kind), "better": better, "scores": scored}
            )
        return rows


def measure(kind: str) -> str:
    """Return the name of the score of a kind of parameter."""
    return "accuracy" if kind == Choice.kind else "error"


def distinct_names(uris: Sequence[str]) -> list[str]:
    """Return a short unique name for each model: its file name, after as many folder names as it needs."""
    paths = [uri.removesuffix(".keras").split("/") for uri in uris]
    for length in range(1, max(map(len, paths))):
        names = ["/".join(path[-length:]) for path in paths]
        if max(Counter(names).values()) == 1:
            return names
    return list(uris)


def _better(higher: bool) -> str:
    return "higher" if higher else "lower"
