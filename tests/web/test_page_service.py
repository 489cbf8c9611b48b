"""The page while the service is busy or guarded, and recording."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_for
from tests.web.conftest import drop
from tests.web.test_page import expect

pytestmark = pytest.mark.web


def refuse(page: Any, times: int, status: int = 429, retry_after_s: float = 1) -> list[int]:
    """Let the service refuse the next matches; return a list of the refusals, which grows."""
    refusals: list[int] = []

    def answer(route: Any) -> None:
        if len(refusals) == times:
            route.continue_()
            return
        refusals.append(status)
        route.fulfill(status=status, headers={"Retry-After": str(retry_after_s)}, json={"error": "busy"})

    page.route("**/v1/models/synthray:match*", answer)
    return refusals


@pytest.mark.parametrize(("status", "word"), [(429, "busy"), (503, "not ready")])
def test_page_waits_while_the_service_is_busy(
    open_page: Callable[..., Any], tone: Path, status: int, word: str
) -> None:
    page = open_page()
    refuse(page, times=1, status=status, retry_after_s=4)
    page.locator("#files").set_input_files(tone)
    expect(page.locator("#busy-text")).to_have_text(f"The service is {word}. Next try in 2 s.")  # the seconds go down
    page.locator("#panel").wait_for()
    assert page.locator("#busy").is_hidden()


def test_page_tries_until_the_service_is_free(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    refusals = refuse(page, times=8, retry_after_s=0.05)
    page.locator("#files").set_input_files(tone)
    page.locator("#panel").wait_for()
    assert len(refusals) == 8
    assert page.locator("#source-message").inner_text() == ""


def test_page_waits_for_half_a_minute_at_most(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    refuse(page, times=1, retry_after_s=3600)
    page.locator("#files").set_input_files(tone)
    expect(page.locator("#busy-text")).to_contain_text(re.compile(r"in (30|2\d) s"))


def test_page_stops_trying_when_asked_to(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    refusals = refuse(page, times=99, retry_after_s=20)
    page.locator("#files").set_input_files(tone)
    page.locator("#busy-cancel").click()
    expect(page.locator("#source-message")).to_contain_text("Cancelled, because the service was busy.")
    assert page.locator("#busy").is_hidden()
    assert len(refusals) == 1
    expect(page.locator("#sounds .figure")).to_have_text("try again")


def test_page_without_a_service_says_so(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    page.route("**/v1/models/synthray:match*", lambda route: route.abort())
    page.locator("#files").set_input_files(tone)
    expect(page.locator("#source-message")).to_contain_text("The service cannot be reached")


def test_file_that_is_too_large_is_refused_in_megabytes(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page()
    sent = []
    page.on("request", lambda request: sent.append(request.url) if ":match" in request.url else None)
    for name, size in (("first.wav", 34_044_178), ("second.wav", 40_000_000)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
        page.locator("#files").set_input_files(tmp_path / name)
        expect(page.locator("#source-message")).to_contain_text(f"{name}: ")
    text = page.locator("#source-message").inner_text()
    assert "first.wav: 34.1 MB is too large; the limit is 33.5 MB." in text
    assert "second.wav: 40 MB is too large; the limit is 33.5 MB." in text
    assert not sent


def test_error_of_a_sound_is_shown_until_its_retry_succeeds(
    open_page: Callable[..., Any], tone: Path, tmp_path: Path
) -> None:
    page = open_page()
    first, second, broken = (tmp_path / name for name in ("first.wav", "second.wav", "broken.wav"))
    for file in (first, second):
        file.write_bytes(tone.read_bytes())
    broken.write_bytes(b"no sound at all")
    page.route("**/v1/models/synthray:match*", lambda route: route.abort())
    page.locator("#files").set_input_files([first, second])
    message = page.locator("#source-message")
    expect(message).to_have_text(re.compile("^first.wav, second.wav: The service cannot be reached"))
    page.unroute("**/v1/models/synthray:match*")
    page.locator("#files").set_input_files(broken)
    expect(message.locator("p").nth(1)).to_contain_text("broken.wav: ")
    page.locator("#sounds button").nth(0).click()
    expect(page.locator("#scene-title")).to_have_text("first.wav")
    expect(message.locator("p")).to_have_count(2)
    expect(message).to_contain_text("second.wav: The service cannot be reached")
    expect(message).not_to_contain_text("first.wav")
    page.locator("#sounds button").nth(1).click()
    expect(message).to_have_text(re.compile("^broken.wav: "))


def test_page_asks_for_the_token_and_keeps_it(open_page: Callable[..., Any], guarded_url: str, tone: Path) -> None:
    page = open_page(url=guarded_url)
    page.locator("#files").set_input_files(tone)
    page.locator("#token").fill("wrong")
    page.locator("#token").press("Enter")
    expect(page.locator("#source-message")).to_contain_text("did not accept")
    page.locator("#token").fill("open sesame")
    page.locator("#token").press("Enter")
    page.locator("#panel").wait_for()
    assert page.locator("#token-form").is_hidden()
    page.reload()
    drop(page, tone)


def test_page_offers_only_searches_that_the_service_allows(
    open_page: Callable[..., Any], guarded_url: str, tone: Path
) -> None:
    page = open_page(url=guarded_url)
    page.evaluate("sessionStorage.setItem('synthray-token', 'open sesame')")
    page.reload()
    drop(page, tone)
    assert page.locator("#refine label:visible").all_inner_texts() == ["1 s", "2 s"]
    page.locator("#refine-start").click()
    expect(page.locator("#refine-message")).to_contain_text("Searching for 2 s")
    expect(page.locator("#refine-message")).to_contain_text("Done")


def test_recording_is_matched(open_page: Callable[..., Any]) -> None:
    page = open_page(permissions=["microphone"])
    page.get_by_role("button", name="Record a sound").click()
    expect(page.locator("#recorder-start")).to_be_enabled()
    assert page.locator("#device option").count() >= 1
    page.locator("#recorder-start").click()
    expect(page.locator("#count")).to_have_text("3")
    expect(page.locator("#count")).to_contain_text("of 8 s")
    page.wait_for_timeout(2500)
    page.locator("#recorder-start").click()
    page.locator("#panel").wait_for()
    assert page.locator("#recorder").is_hidden()
    assert page.locator("#scene-title").inner_text().startswith("Recording ")


def test_recording_without_permission_says_what_to_do(open_page: Callable[..., Any]) -> None:
    script = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); }"
    page = open_page(script=script)
    page.get_by_role("button", name="Record a sound").click()
    expect(page.locator("#recorder-message")).to_contain_text("Allow it in the address bar")
    page.locator("#recorder-close").click()
    assert page.locator("#recorder").is_hidden()


def test_recording_that_is_allowed_after_its_dialog_was_closed_is_switched_off(open_page: Callable[..., Any]) -> None:
    script = """
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    window.streams = [];
    window.allow = [];
    navigator.mediaDevices.getUserMedia = async (wish) => {
      await new Promise((resolve) => window.allow.push(resolve));
      window.streams.push(await ask(wish));
      return window.streams.at(-1);
    };
    """
    page = open_page(permissions=["microphone"], script=script)
    for _ in range(2):
        page.get_by_role("button", name="Record a sound").click()
        wait_for(lambda: page.evaluate("window.allow.length > 0"))
        page.locator("#recorder-close").click()
    page.get_by_role("button", name="Record a sound").click()
    wait_for(lambda: page.evaluate("window.allow.length === 3"))
    page.evaluate("window.allow.forEach((resolve) => resolve())")
    expect(page.locator("#recorder-start")).to_be_enabled()
    wait_for(lambda: page.evaluate("window.streams.length === 3"))
    wait_for(lambda: page.evaluate("window.streams.filter((stream) => stream.active).length === 1"))
    page.locator("#recorder-close").click()
    wait_for(lambda: page.evaluate("window.streams.every((stream) => !stream.active)"))
