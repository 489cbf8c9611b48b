"""Fixtures: small saved models, their predictors, and a sound."""

import numpy as np
import pytest

from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Range
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card, build_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A folder with ``model_2_1``, of the instrument, and ``foreign/model_3_1``."""
    from synthray.model.saved import save_model

    folder = tmp_path_factory.mktemp("models")
    save_model(
        build_model(FOREIGN, FOREIGN_SHAPE), f"{folder}/foreign", build_card(FOREIGN, FOREIGN_SHAPE, "model_3_1")
    )
    save_model(build_model(INSTRUMENT, (20, 551), seed=1), str(folder), build_card(INSTRUMENT, (20, 551)))
    return folder


@pytest.fixture(scope="session")
def predictor(model_folder):
    """A small model of the instrument, loaded from its file."""
    from synthray.model.predictor import Predictor

    return Predictor.load(f"{model_folder}/model_2_1.keras")


@pytest.fixture(scope="session")
def foreign_predictor(model_folder):
    """A small model of another instrument: other names, counts and feature shape."""
    from synthray.model.predictor import Predictor

    return Predictor.load(f"{model_folder}/foreign/model_3_1.keras")


@pytest.fixture(scope="session")
def sound():
    """One rendered sound, float32 (22050,)."""
    from synthray.synth.voice import render

    middle = np.array([[0.5 if isinstance(p, Range) else 1.0 for p in INSTRUMENT.learned]])
    return render(INSTRUMENT.labels_to_settings(middle))[0]


@pytest.fixture(scope="session")
def wav(sound):
    """The sound as the bytes of a WAV file."""
    from synthray.synth.files.sound_file import encode_wav

    return encode_wav(sound)
