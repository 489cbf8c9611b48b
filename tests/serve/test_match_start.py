"""Searches that start at a preset of the client, in a form and in JSON."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from starlette.testclient import TestClient

from synthray.serve.app import build_app
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Range
from synthray.synth.presets import preset_to_json
from tests.serve.test_matching import EVENTS, MATCH, events_of, service_of

RENDER = MATCH.replace("match", "render")
JSON = {"accept": "application/json"}


@pytest.fixture(scope="module")
def client(predictor):
    with TestClient(build_app(service_of(predictor, max_refine_s=5))) as client:
        yield client


@pytest.fixture(scope="module")
def near():
    """A preset that is nearly that of the sound, and nearer than any that a short search finds by itself."""
    labels = [(0.5 if p.step else 0.502) if isinstance(p, Range) else 1.0 for p in INSTRUMENT.learned]
    return preset_to_json(INSTRUMENT, INSTRUMENT.labels_to_settings(np.array([labels]))[0])


@pytest.fixture(scope="module")
def distance_db(client, near, wav):
    """The distance of the preset from the sound, as ``:render`` computes it."""
    target = base64.b64encode(wav).decode()
    return client.post(RENDER, json=near | {"target": target}, headers=JSON).json()["distance_db"]


def form_of(wav, start):
    return {"files": {"file": ("sound", wav)}, "data": {"start": json.dumps(start)}}


def values_of(preset):
    return {name: entry["value"] for name, entry in preset["parameters"].items()}


@pytest.mark.parametrize("refine_s", [0, 0.2])
def test_match_of_a_form_with_a_start_is_no_further_than_the_start(client, wav, near, distance_db, refine_s):
    alone = client.post(f"{MATCH}?refine={refine_s}", content=wav).json()["preset"]
    assert alone["distance_db"] > distance_db
    answer = client.post(f"{MATCH}?refine={refine_s}", **form_of(wav, near))
    assert answer.headers["x-synthray-sound"]
    preset = answer.json()["preset"]
    assert preset["distance_db"] <= distance_db
    assert (preset["evaluations"] > 0) == (refine_s > 0)
    if not refine_s:
        assert values_of(preset) == values_of(near)


def test_match_in_json_takes_target_and_start(client, wav, near, distance_db):
    target = base64.b64encode(wav).decode()
    started = client.post(MATCH, json={"target": target, "start": near}).json()["preset"]
    assert started["distance_db"] == distance_db
    alone = client.post(MATCH, json={"target": target, "start": None}).json()["preset"]
    assert values_of(alone) == values_of(client.post(MATCH, content=wav).json()["preset"])


def test_match_stream_begins_at_the_start(client, wav, near, distance_db):
    answer = client.post(f"{MATCH}?refine=0.3", headers=EVENTS, **form_of(wav, near))
    (first, improvement), *_, (last, match) = events_of(answer.text)
    assert (first, last) == ("improvement", "match")
    assert improvement["preset"]["distance_db"] == distance_db
    assert values_of(improvement["preset"]) == values_of(near)
    assert match["preset"]["distance_db"] <= distance_db


def test_match_with_a_far_start_begins_at_the_answer_of_the_network(client, wav, near):
    silent = near | {"parameters": near["parameters"] | {"filter_cutoff": 60}}
    alone = client.post(MATCH, content=wav).json()["preset"]
    started = client.post(MATCH, **form_of(wav, silent)).json()["preset"]
    assert started["distance_db"] <= alone["distance_db"]


def test_match_with_a_start_in_a_file_answers_with_a_wav(client, wav, near):
    files = [("file", ("sound.wav", wav)), ("start", ("preset.json", json.dumps({"preset": near})))]
    answer = client.post(MATCH, files=files, headers={"accept": "audio/wav"})
    assert answer.content == client.post(RENDER, json=near).content


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"filter_cutoff": {"value": 1e6}}, "start: filter_cutoff is 1e+06. It must be from 60 to 5000 Hz"),
        ({"filter_type": "comb"}, "start: filter_type is 'comb'. It must be one of: lowpass"),
        ({"reverb": 1}, "start: the preset and the instrument have different parameters (unknown: ['reverb']"),
        (None, 'start: a preset is an object with the entry "parameters"'),
    ],
)
def test_match_invalid_start_names_the_parameter(client, wav, near, start, message):
    preset = near | {"parameters": near["parameters"] | start if start else 3}
    target = base64.b64encode(wav).decode()
    in_form = client.post(f"{MATCH}?refine=1", headers=EVENTS, **form_of(wav, preset))
    in_json = client.post(f"{MATCH}?refine=1", json={"target": target, "start": preset})
    for answer in (in_form, in_json):
        assert answer.status_code == 400
        assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        (lambda wav: {"files": {"file": wav}, "data": {"start": "{"}}, "start is not JSON"),
        (lambda wav: {"files": {"file": wav}, "data": {"start": ["{}", "{}"]}}, "2 fields start, expected one"),
        (
            lambda wav: {"files": [("a", wav), ("b", wav)], "data": {"start": "{}"}},
            "a start and 2 files, expected one file",
        ),
        (lambda _: {"files": {"start": b"{}"}}, "the form holds no file"),
        (lambda _: {"json": {"sound": ""}}, "'sound' is unknown, expected target or start"),
        (lambda _: {"json": {"target": 3}}, "target is a number"),
        (lambda _: {"json": {"target": ""}}, "target is empty"),
        (lambda _: {"json": {"target": "AAAA"}}, "sound"),
        (lambda _: {"json": []}, "the body is an array"),
    ],
)
def test_match_invalid_request_with_a_start_is_refused(client, wav, request_of, message):
    answer = client.post(MATCH, **request_of(wav))
    assert answer.status_code == 400
    assert message in answer.json()["error"]
