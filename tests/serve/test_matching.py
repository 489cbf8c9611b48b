"""Matching over HTTP: options, forms, sounds in the answer, and the progress of a search."""

from __future__ import annotations

import base64
import http.client
import json
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
from starlette.testclient import TestClient

from synthray.errors import Busy, SoundError
from synthray.match.match import Match
from synthray.serve.app import build_app
from synthray.serve.config import AppConfig
from synthray.serve.models.served import FixedModels, Served
from synthray.serve.service import Service
from synthray.synth.files.sound_file import read_sound
from synthray.synth.instrument import N_SAMPLES
from tests.serve.serving import running
from tests.waiting import wait_for

MATCH = "/v1/models/synthray:match"
EVENTS = {"accept": "text/event-stream"}


def service_of(predictor, **config):
    return Service(FixedModels((Served(predictor),)), AppConfig(**config))


@pytest.fixture(scope="module")
def client(predictor):
    with TestClient(build_app(service_of(predictor, max_refine_s=5))) as client:
        yield client


def events_of(text):
    """Return the ``(event, data)`` pairs of a stream of server-sent events."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("event:")]
    return [(event.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for event, data in blocks]


def test_match_include_sounds_returns_both_wavs(client, wav, sound):
    sounds = client.post(f"{MATCH}?include=sounds", content=wav).json()["sounds"]
    original, matched = (read_sound(base64.b64decode(sounds[name])).audio for name in ("original", "match"))
    np.testing.assert_allclose(original, sound, atol=1e-4)
    assert matched.shape == (N_SAMPLES,)
    assert np.abs(matched).max() > 0.001
    assert "sounds" not in client.post(MATCH, content=wav).json()


def test_match_says_why_a_parameter_is_inaudible(client, wav):
    parameters = client.post(MATCH, content=wav).json()["preset"]["parameters"]
    learned = {name: entry for name, entry in parameters.items() if "confidence" in entry}
    assert len(learned) == 38
    for name, entry in learned.items():
        assert ("why_inaudible" in entry) == (not entry["audible"]), name
    assert any(not entry["audible"] for entry in learned.values())


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("refine=5.1", "refine is '5.1', expected 0 to 5 seconds"),
        ("refine=-1", "refine is '-1'"),
        ("refine=nan", "refine is 'nan'"),
        ("refine=soon", "refine is 'soon'"),
        ("include=all", "include is 'all', expected sounds"),
        ("refin=1", "'refin' is unknown, expected refine or include"),
        ("refine=1&refine=0", "refine is given 2 times, expected once"),
    ],
)
def test_match_invalid_option_is_refused(client, wav, query, message):
    answer = client.post(f"{MATCH}?{query}", content=wav)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_match_refined_is_nearer(client, wav):
    guessed, refined = (client.post(f"{MATCH}?refine={s}", content=wav).json()["preset"] for s in (0, 1))
    assert guessed["evaluations"] == 0
    assert refined["evaluations"] > 100
    assert refined["distance_db"] < guessed["distance_db"]


def test_match_of_a_form_answers_each_file(client, wav):
    files = [("sound", ("a.wav", wav)), ("sound", ("notes.txt", b"no sound")), ("other", ("ä b.wav", wav))]
    answer = client.post(MATCH, files=files)
    assert answer.status_code == 200
    first, broken, last = answer.json()["matches"]
    assert (first["name"], broken["name"], last["name"]) == ("a.wav", "notes.txt", "ä b.wav")
    alone = client.post(MATCH, content=wav).json()["preset"]["parameters"]
    assert first["preset"]["parameters"] == last["preset"]["parameters"] == alone
    assert set(broken) == {"name", "error", "status"}
    assert broken["status"] == 400


@pytest.mark.parametrize("free", [0, 1])
def test_match_of_a_form_with_a_full_queue_keeps_the_finished_matches(predictor, wav, monkeypatch, free):
    service, places = service_of(predictor), iter([True] * free + [False] * 3)
    submit = service.submit_match

    def submit_or_refuse(refine_s, function):
        if not next(places):
            raise Busy("16 sounds are waiting or running already.", 3)
        return submit(refine_s, function)

    monkeypatch.setattr(Service, "submit_match", lambda _, *request: submit_or_refuse(*request))
    with TestClient(build_app(service)) as client:
        answer = client.post(MATCH, files=[("sound", (name, wav)) for name in ("a.wav", "b.wav", "c.wav")])
    reason = "16 sounds are waiting or running already. Retry in 3 s."
    if not free:
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
        assert answer.json() == {"error": reason}
        return
    first, *others = answer.json()["matches"]
    assert first["preset"]["parameters"]
    refused = {"error": reason, "status": 429, "retry_after_s": 3}
    assert others == [{"name": name} | refused for name in ("b.wav", "c.wav")]


def test_match_of_a_form_accepts_only_json(client, wav):
    answer = client.post(MATCH, files={"sound": wav}, headers={"accept": "audio/wav"})
    assert answer.status_code == 406


def test_match_of_a_form_limits_the_search_of_all_files_together(client, wav):
    answer = client.post(f"{MATCH}?refine=3", files=[("sound", ("a.wav", wav)), ("sound", ("b.wav", wav))])
    assert answer.status_code == 400
    assert "refine is 3 for each of 2 files, expected at most 5 s together" in answer.json()["error"]


@pytest.mark.parametrize("charset", ["undefined", "idna", "utf-7"])
def test_match_of_a_form_with_an_unusable_charset_is_no_server_error(client, wav, charset):
    body = b'--b\r\ncontent-disposition: form-data; name="a"; filename="+2AA-\xff"\r\n\r\n' + wav + b"\r\n--b--\r\n"
    kind = f"multipart/form-data; boundary=b; charset={charset}"
    answer = client.post(MATCH, content=body, headers={"content-type": kind})
    assert answer.status_code in (200, 400)
    answer.json()


def test_match_streams_improvements_then_the_match(client, wav):
    answer = client.post(f"{MATCH}?refine=1&include=sounds", content=wav, headers=EVENTS)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *improvements, (name, match) = events_of(answer.text)
    assert name == "match"
    assert {event for event, _ in improvements} == {"improvement"}
    shares = [data["progress"] for _, data in improvements]
    assert shares == sorted(shares)
    assert shares[0] < 0.1
    distances = [data["preset"]["distance_db"] for _, data in improvements]
    assert distances == sorted(distances, reverse=True)
    assert match["preset"]["distance_db"] <= distances[0]
    counts = [data["preset"]["evaluations"] for _, data in (*improvements, (name, match))]
    assert counts[0] == 0
    assert counts == sorted(set(counts))
    assert set(match["sounds"]) == set(improvements[0][1]["sounds"]) == {"original", "match"}


@pytest.mark.parametrize("found_db", [3.0, 3.5, 2.0])
def test_match_stream_sends_only_closer_presets(client, wav, monkeypatch, found_db):
    """The search minimises another distance than the one that is sent."""

    def improve(service, served, answer, options, improved, is_stopped):
        for distance_db in (5.0, 6.0, 4.0, 4.0, 3.0):
            improved(distance_db, 33)
        return answer.described(found_db)

    def found_at(distance_db):
        return Match(np.zeros(46), distance_db, np.zeros(38), 33, 1.0)

    module = "synthray.serve.sounds.progress_stream"
    answer = SimpleNamespace(labels=7.0, described=lambda labels, _=0: found_at(labels))
    monkeypatch.setattr(f"{module}.INTERVAL_S", 0)
    monkeypatch.setattr(f"{module}.guess_sound", lambda *_: answer)
    monkeypatch.setattr(f"{module}.find_match", improve)
    monkeypatch.setattr(f"{module}.encode_match", lambda *args: {"distance_db": args[3].distance_db})
    events = events_of(client.post(f"{MATCH}?refine=1", content=wav, headers=EVENTS).text)
    assert [data["distance_db"] for _, data in events] == [7.0, 5.0, 4.0, 3.0, min(3.0, found_db)]
    assert [event for event, _ in events] == ["improvement"] * 4 + ["match"]


def test_match_stream_reports_error_as_event(client, wav, monkeypatch):
    def silent(*_):
        raise SoundError("the sound is silent in its first 2 s: there is nothing to match")

    monkeypatch.setattr("synthray.serve.sounds.match_answer.guess", silent)
    answer = client.post(f"{MATCH}?refine=1", content=wav, headers=EVENTS)
    assert events_of(answer.text) == [
        ("error", {"error": "the sound is silent in its first 2 s: there is nothing to match"})
    ]


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json", "audio/wav"])
def test_match_closed_by_client_stops_the_search(predictor, wav, accept):
    service = service_of(predictor, search_threads=1, max_searches=1)
    with running(service) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        connection.request("POST", f"{MATCH}?refine=30", wav, {"accept": accept})
        if accept == "text/event-stream":
            assert connection.getresponse().readline() == b"event: improvement\n"
        else:
            wait_for(lambda: any(task.started_s for task in service.search_work._tasks))
        connection.close()
        started_s = time.monotonic()
        other = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        other.request("POST", f"{MATCH}?refine=0.1", wav)
        assert other.getresponse().status == 200
        assert time.monotonic() - started_s < 20


@pytest.mark.slow
@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
def test_match_beyond_the_queue_is_answered_with_429(predictor, wav, accept):
    service = service_of(predictor, search_threads=1, max_searches=1)
    with running(service) as url:
        connections = [http.client.HTTPConnection(urlsplit(url).netloc, timeout=60) for _ in range(4)]
        for connection in connections:
            connection.request("POST", f"{MATCH}?refine=1.1", wav, {"accept": accept})
        answers = [connection.getresponse() for connection in connections]
        refused = [answer for answer in answers if answer.status == 429]
        assert sorted({answer.status for answer in answers}) == [200, 429]
        waits_s = [int(answer.headers["retry-after"]) for answer in refused]
        assert all(2 <= wait_s <= 3 for wait_s in waits_s), waits_s
        assert f"Retry in {waits_s[0]} s." in json.load(refused[0])["error"]


def test_match_and_render_do_not_wait_for_a_search(predictor, wav):
    service = service_of(predictor, sound_threads=1, search_threads=1)
    with running(service) as url:
        searching, other = (http.client.HTTPConnection(urlsplit(url).netloc, timeout=60) for _ in range(2))
        other.request("POST", f"{MATCH}?include=sounds", wav)
        preset = other.getresponse().read()
        searching.request("POST", f"{MATCH}?refine=20", wav, EVENTS)
        stream = searching.getresponse()
        assert stream.readline()
        started_s = time.monotonic()
        for path, body in ((MATCH, wav), (MATCH.replace("match", "render"), preset)):
            other.request("POST", path, body)
            answer = other.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)
        assert time.monotonic() - started_s < 10
        stream.close()
        searching.close()
