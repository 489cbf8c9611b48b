"""Rendering of presets and analysis of sounds over HTTP."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from starlette.testclient import TestClient

from synthray.match.match import distance_db
from synthray.serve.app import build_app
from synthray.serve.models.served import FixedModels, Served
from synthray.serve.service import Service
from synthray.synth.features import analyse
from synthray.synth.files.sound_file import read_sound, write_wav
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.presets import preset_from_json, preset_to_json
from synthray.synth.priors import random_presets
from synthray.synth.voice import render

RENDER, ANALYSE = (f"/v1/models/synthray:{name}" for name in ("render", "analyse"))
JSON = {"accept": "application/json"}


@pytest.fixture(scope="module")
def client(predictor):
    with TestClient(build_app(Service(FixedModels((Served(predictor),))))) as client:
        yield client


@pytest.fixture(scope="module")
def settings():
    return INSTRUMENT.labels_to_settings(random_presets(5, 0, 1))[0]


def test_render_returns_the_sound_of_a_preset(client, settings):
    preset = preset_to_json(INSTRUMENT, settings)
    answer = client.post(RENDER, json=preset)
    assert answer.headers["content-type"] == "audio/wav"
    rounded = preset_from_json(INSTRUMENT, preset)
    buffer = io.BytesIO()
    write_wav(buffer, render(rounded[None])[0])
    assert answer.content == buffer.getvalue()


def test_render_accepts_the_answer_of_match(client, wav):
    matched = client.post(f"{RENDER.replace('render', 'match')}?include=sounds", content=wav).json()
    assert client.post(RENDER, json=matched).content[:4] == b"RIFF"


def test_render_json_has_distance_from_target(client, settings, sound, wav):
    preset = preset_to_json(INSTRUMENT, settings)
    target = base64.b64encode(wav).decode()
    answer = client.post(RENDER, json=preset | {"target": target}, headers=JSON).json()
    rounded = preset_from_json(INSTRUMENT, preset)
    assert answer["distance_db"] == pytest.approx(distance_db(read_sound(wav).audio, rounded), abs=0.002)
    assert read_sound(base64.b64decode(answer["sound"])).audio.shape == sound.shape
    parameters = answer["preset"]["parameters"]
    assert {name for name, entry in parameters.items() if "audible" in entry} == {p.name for p in INSTRUMENT.learned}
    assert client.post(RENDER, json=preset, headers=JSON).json()["distance_db"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"filter_cutoff": {"value": 1e6}}, "filter_cutoff is 1e+06. It must be from 60 to 5000 Hz"),
        ({"filter_cutoff": None}, "filter_cutoff is null, not a number"),
        ({"filter_type": "comb"}, "filter_type is 'comb'. It must be one of: lowpass"),
        ({"oscillator_1_pitch": 0.5}, "oscillator_1_pitch is 0.5, which is not in steps of 1 semitones"),
        ({"reverb": 1}, "unknown: ['reverb']"),
    ],
)
def test_render_invalid_parameter_names_it(client, settings, change, message):
    preset = preset_to_json(INSTRUMENT, settings)
    preset["parameters"] |= change
    answer = client.post(RENDER, json=preset)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("target", "message"),
    [(3, "target is a number"), ("%%", "target is not base64"), ("", "target is empty"), ("AAAA", "sound")],
)
def test_render_invalid_target_is_refused(client, settings, target, message):
    preset = preset_to_json(INSTRUMENT, settings)
    answer = client.post(RENDER, json=preset | {"target": target}, headers=JSON)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_render_name_with_half_a_surrogate_pair_is_refused(client):
    answer = client.post(RENDER, content=b'{"parameters": {"\\ud800": 1}}')
    assert answer.status_code == 400
    assert "unknown" in answer.json()["error"]


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b"3", b'{"parameters": 3}', b"{}"])
def test_render_body_without_preset_is_refused(client, body):
    answer = client.post(RENDER, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize("analysis", ["fft", "spectra"])
def test_analyse_returns_the_features_of_a_sound(client, wav, analysis):
    expected = analyse(read_sound(wav).audio[None], analysis=analysis)[0]
    url = f"{ANALYSE}?analysis={analysis}"
    answer = client.post(url, content=wav).json()
    assert answer["shape"] == list(expected.shape)
    np.testing.assert_allclose(answer["instances"][0], expected, rtol=1e-6)
    raw = client.post(url, content=wav, headers={"accept": "application/octet-stream"})
    assert raw.headers["x-synthray-shape"] == ",".join(map(str, expected.shape))
    np.testing.assert_array_equal(np.frombuffer(raw.content, "<f4").reshape(expected.shape), expected)


def test_analyse_answer_can_be_predicted(client, wav):
    features = client.post(ANALYSE, content=wav).json()
    predicted = client.post("/v1/models/synthray:predict", json={"instances": features["instances"]})
    assert predicted.status_code == 200
    assert len(predicted.json()["predictions"]) == 1


@pytest.mark.parametrize(
    ("url", "body", "status", "message"),
    [
        (f"{ANALYSE}?analysis=mel", b"RIFF", 400, "analysis is 'mel', expected one of fft, spectra"),
        (f"{ANALYSE}?foo=1", b"RIFF", 400, "query: 'foo' is unknown, expected analysis"),
        (f"{ANALYSE}?analysis=fft&analysis=fft", b"RIFF", 400, "analysis is given 2 times, expected once"),
        (f"{RENDER}?x=1", b"{}", 400, "query: 'x' is unknown, expected no query"),
        (ANALYSE, b"", 400, "the body is empty"),
        (ANALYSE, b"RIFF", 400, "sound"),
    ],
)
def test_analyse_invalid_request_is_refused(client, url, body, status, message):
    answer = client.post(url, content=body)
    assert answer.status_code == status
    assert message in answer.json()["error"]
