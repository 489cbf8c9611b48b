"""The search for a closer match, with answers of the service that the tests choose."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.web.conftest import distance_db, drop, slider
from tests.web.test_page import expect

pytestmark = pytest.mark.web
MATCH = "**/v1/models/synthray:match*"


def matched(page: Any, file: Path) -> dict[str, Any]:
    """Choose a file; return the service's answer, whose match is shown."""
    answers = []

    def keep(route: Any) -> None:
        response = route.fetch()
        answers.append(response.json())
        route.fulfill(response=response)

    page.route(MATCH, keep)
    drop(page, file)
    page.unroute(MATCH)
    return answers[0]


def at_distance(answer: dict[str, Any], distance_db: float, cutoff_hz: float) -> dict[str, Any]:
    """Return an answer with another distance and another cutoff."""
    changed = copy.deepcopy(answer)
    changed["preset"]["distance_db"] = distance_db
    changed["preset"]["parameters"]["filter_cutoff"]["value"] = cutoff_hz
    return changed


def stream(*events: tuple[str, dict[str, Any]]) -> str:
    """Return server-sent events."""
    return "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)


def answer_search(page: Any, *events: tuple[str, dict[str, Any]]) -> None:
    """Answer each search with these events."""
    body = stream(*events)
    page.route("**/*refine=*", lambda route: route.fulfill(content_type="text/event-stream", body=body))


def cutoff(page: Any) -> str:
    return page.get_by_role("slider", name="Filter cutoff", exact=True).get_attribute("aria-valuetext")


def test_first_match_of_a_sound_is_searched_for(open_page: Callable[..., Any], service_url: str, tone: Path) -> None:
    page = open_page(searches=True)
    drop(page, tone)
    network = httpx.post(f"{service_url}v1/models/synthray:match", content=tone.read_bytes()).json()
    assert distance_db(page) < network["preset"]["distance_db"] - 0.1


def test_search_without_a_closer_match_keeps_what_is_shown(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    answer = matched(page, tone)
    before_db, before = distance_db(page), cutoff(page)
    answer_search(
        page,
        ("improvement", at_distance(answer, before_db + 3, 111)),
        ("match", at_distance(answer, before_db + 0.01, 222)),
    )
    page.locator("#refine-start").click()
    expect(page.locator("#refine-message")).to_have_text(f"Done: no match is closer than {before_db:.2f} dB")
    assert (distance_db(page), cutoff(page)) == (before_db, before)
    assert page.locator("#history button").count() == 1
    assert page.locator("#undo").is_disabled()


def test_search_records_its_closest_match(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    answer = matched(page, tone)
    before_db = distance_db(page)
    closest_db = before_db - 0.2
    answer_search(
        page,
        ("improvement", at_distance(answer, before_db + 3, 111)),
        ("improvement", at_distance(answer, closest_db, 222)),
        ("match", at_distance(answer, before_db - 0.1, 333)),
    )
    page.locator("#refine-start").click()
    expect(page.locator("#refine-message")).to_have_text(
        f"Done: {before_db:.2f} \N{RIGHTWARDS ARROW} {closest_db:.2f} dB"
    )
    assert cutoff(page) == "222 Hz"
    expect(page.locator("#history .figure").nth(1)).to_have_text(f"{closest_db:.2f} dB")


KEEP_STARTS = """
window.starts = [];
const send = window.fetch;
window.fetch = (address, options) => {
  if (options?.body instanceof FormData) window.starts.push(options.body.get("start"));
  return send(address, options);
};
"""


def test_search_starts_at_the_preset_that_is_shown(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page(script=KEEP_STARTS)
    drop(page, tone)
    slider(page, "Filter cutoff").focus()
    page.keyboard.press("Home")
    for seconds in (3, 1):
        expect(page.locator("#distance b")).not_to_have_text("\N{EN DASH}")
        before_db = distance_db(page)
        page.locator(f"label[for=seconds-{seconds}]").click()
        page.locator("#refine-start").click()
        expect(page.locator("#refine-message")).to_contain_text("Done: ")
        assert distance_db(page) <= before_db
    starts = [json.loads(start)["parameters"] for start in page.evaluate("window.starts")]
    assert starts[0]["filter_cutoff"] == 60
    assert len(starts[1]) == 46


def test_search_ends_when_a_sound_is_added(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    before_db = distance_db(page)
    page.locator("label[for=seconds-10]").click()
    page.locator("#refine-start").click()
    expect(page.locator("#refine-message")).to_contain_text("Searching: ")
    page.route(MATCH, lambda route: None)  # the sound is not matched before the assertions
    page.get_by_role("button", name="FM bell").click()
    expect(page.locator("#refine-message")).to_have_text("Stopped to match another sound.")
    assert page.locator("#scene-title").inner_text() == "tone.wav"
    assert distance_db(page) < before_db
    expect(page.locator("#history button")).to_have_count(2)


WATCH_SPEECH = """() => {
  window.said = [];
  for (const region of document.querySelectorAll("[role=status], [role=alert], [aria-live]")) {
    const watch = new MutationObserver(() => window.said.push([region.id, region.textContent, performance.now()]));
    watch.observe(region, { childList: true, characterData: true, subtree: true });
  }
}"""


def test_search_is_announced_in_one_place_now_and_then(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    answer = matched(page, tone)
    expect(page.locator("#live")).to_contain_text("is matched")
    before_db = distance_db(page)
    answers = [("improvement", at_distance(answer, before_db - 0.1 * i, 200 + i)) for i in range(1, 9)]
    answer_search(page, *answers, ("match", at_distance(answer, before_db - 1, 300)))
    page.evaluate(WATCH_SPEECH)
    page.locator("#refine-start").click()
    end = f"Done: {before_db:.2f} to {before_db - 1:.2f} decibels"
    expect(page.locator("#live")).to_have_text(end)
    said = page.evaluate("window.said")
    assert {region for region, _, _ in said} == {"live"}
    assert len(said) <= 3
    times = [time_ms for _, _, time_ms in said]
    assert all(later - earlier > 2000 for earlier, later in itertools.pairwise(times))
