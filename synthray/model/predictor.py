"""A model ready to answer: features to outputs, to labels, and sound to preset. No Ray, no HTTP."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from synthray.errors import ModelError, SoundError
from synthray.model.heads import INPUT_NAME, output_name
from synthray.model.output_columns import OutputColumns, check_outputs, fused_function
from synthray.model.saved import ModelCard, load_model
from synthray.synth.features import FEATURE_SHAPE, analyse
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES
from synthray.synth.parameters import Range

ROWS_AT_ONCE = 1024
FAMILIAR_RMS_DB = (-56.0, -20.0)  # of random presets, 5 % are quieter and 5 % louder
SILENCE_RMS = 1e-5


class Predictor:
    """One model and its card. Safe to call from several threads once it is made.

    Raises:
        ModelError: the model's input or outputs are not those that its card states.
    """

    def __init__(self, model: keras.Model, card: ModelCard) -> None:
        self.card = card
        self.frames, self.bins = card.feature_shape
        expected = (None, self.frames, self.bins)
        if len(model.inputs) != 1 or tuple(model.inputs[0].shape) != expected:
            shapes = [tuple(tensor.shape) for tensor in model.inputs]
            raise ModelError(f"{card.name}: the model's inputs are {shapes}, its card says {expected}")
        check_outputs(model, card.table)
        self._layout = OutputColumns(card.table)
        # An open first axis: one trace serves every batch size, so no request ever waits for a new one.
        signature = [tf.TensorSpec(expected, tf.float32, name=INPUT_NAME)]
        self._function = tf.function(fused_function(model, self._layout), input_signature=signature)
        self._compiled = self._function.get_concrete_function()

    @classmethod
    def load(cls, uri: str) -> Predictor:
        """Load the ``.keras`` file at ``uri`` (or the newest below it) and warm it up.

        Raises:
            NotFound: there is no model.
            ModelError: it or its card cannot be used.
        """
        predictor = cls(*load_model(uri))
        predictor.warm_up()
        return predictor

    @property
    def is_of_instrument(self) -> bool:
        """Whether this model speaks of synthray's own instrument, so that sounds can be matched with it."""
        return self.card.table == INSTRUMENT and tuple(self.card.feature_shape) == FEATURE_SHAPE

    def require_instrument(self) -> None:
        """Raise ModelError unless sounds can be matched with this model."""
        if not self.is_of_instrument:
            raise ModelError(
                f"{self.card.name} was trained on another instrument than synthray's own: it can predict from "
                "features, but it cannot match a sound"
            )

    def warm_up(self) -> None:
        """Pay all first-time costs now: traces, buffers, compiled kernels."""
        for rows in (1, 2):
            self.predict(np.zeros((rows, self.frames, self.bins), np.float32))
        if self.is_of_instrument:
            self.render(self.match_settings(np.full(N_SAMPLES, 0.01, np.float32)))

    def predict(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """Features float32 ``(sounds, frames, bins)`` to ``{"out_<name>": float32 (sounds, units)}``.

        Probabilities for a choice, one number (not yet clipped) for a range, in the table's order.
        """
        outputs = self._outputs(features)
        return {name: outputs[:, columns] for name, columns in self._layout.columns.items()}

    def labels(self, features: np.ndarray, *, clip: bool = True) -> np.ndarray:
        """Features ``(sounds, frames, bins)`` to labels float32 ``(sounds, learned)``.

        A choice is the index of its likeliest class, a range is clipped to [0, 1] (with ``clip=False`` it is what the
        network said: a foreign data set's ranges may lie elsewhere).
        """
        outputs = self.predict(features)
        labels = np.empty((len(features), len(self.card.table.learned)), np.float32)
        for column, parameter in enumerate(self.card.table.learned):
            output = outputs[output_name(parameter.name)]
            labels[:, column] = output[:, 0] if isinstance(parameter, Range) else output.argmax(axis=1)
            if clip and isinstance(parameter, Range):
                np.clip(labels[:, column], 0.0, 1.0, out=labels[:, column])
        return labels

    def match_settings(self, audio: np.ndarray) -> np.ndarray:
        """Sound float32 ``(samples,)`` to the settings that might have made it, float32 ``(parameters,)``.

        Raises:
            ModelError: the model was trained on another instrument.
            SoundError: ``audio`` has another length, is not finite, or is silent.
        """
        self.require_instrument()
        if audio.shape != (N_SAMPLES,) or not np.isfinite(audio).all():
            raise SoundError(f"the sound has shape {audio.shape}, expected ({N_SAMPLES},) of finite numbers")
        return self.card.table.labels_to_settings(self.labels(analyse(normalize_level(audio)[None])))[0]

    def match(self, audio: np.ndarray) -> dict[str, Any]:
        """Sound float32 ``(samples,)`` to a preset in human units; raises as :meth:`match_settings` does."""
        settings = self.match_settings(audio)
        from synthray.synth.presets import preset_to_json

        return preset_to_json(self.card.table, settings, model=self.card.name)

    def render(self, settings: np.ndarray) -> np.ndarray:
        """Settings float32 ``(parameters,)`` to sound float32 ``(samples,)``."""
        from synthray.synth.voice import render

        return render(settings[None])[0]

    def _outputs(self, features: np.ndarray) -> np.ndarray:
        """All heads' outputs side by side, float32 ``(sounds, units)``."""
        features = np.asarray(features, np.float32)
        if features.ndim != 3 or features.shape[1:] != (self.frames, self.bins):
            raise ModelError(f"features have shape {features.shape}, expected (sounds, {self.frames}, {self.bins})")
        if len(features) <= ROWS_AT_ONCE:
            return self._compiled(tf.constant(features)).numpy()
        blocks = np.array_split(features, -(-len(features) // ROWS_AT_ONCE))
        return np.concatenate([self._compiled(tf.constant(block)).numpy() for block in blocks])


def normalize_level(audio: np.ndarray) -> np.ndarray:
    """A sound, brought into the range of levels in which a network has heard sounds; others it knows nothing of.

    A recording's level says little of the sound, and most recordings are louder than any that the instrument makes.

    Raises:
        SoundError: the sound is silent.
    """
    rms = float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))
    if rms < SILENCE_RMS:
        raise SoundError("the sound is silent in its first 2 s: there is nothing to match")
    quietest, loudest = (10 ** (level / 20) for level in FAMILIAR_RMS_DB)
    return (audio * (np.clip(rms, quietest, loudest) / rms)).astype(np.float32)


def predict_together(requests: list[tuple[Predictor, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """Answer several requests with one call for each model among them, in the requests' order."""
    answers: list[dict[str, np.ndarray]] = [{}] * len(requests)
    by_model: dict[int, list[int]] = {}
    for number, (predictor, _) in enumerate(requests):
        by_model.setdefault(id(predictor), []).append(number)
    for numbers in by_model.values():
        predictor = requests[numbers[0]][0]
        outputs = predictor.predict(np.concatenate([requests[number][1] for number in numbers]))
        ends = np.cumsum([len(requests[number][1]) for number in numbers])
        for number, end in zip(numbers, ends, strict=True):
            rows = slice(end - len(requests[number][1]), end)
            answers[number] = {name: values[rows] for name, values in outputs.items()}
    return answers
