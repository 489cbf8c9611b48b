"""The page when its parts meet at a bad time: searches, renders, a failed start, and odd input."""

from __future__ import annotations

import base64
import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_for
from tests.web.conftest import distance_db, drop, slider
from tests.web.test_page import expect

pytestmark = pytest.mark.web
RENDER = "**/v1/models/synthray:render"


def turn(page: Any, name: str, key: str = "Home") -> None:
    """Turn a knob to an end."""
    slider(page, name).focus()
    page.keyboard.press(key)


def search(page: Any, seconds: int) -> None:
    """Start a search."""
    page.locator(f"label[for=seconds-{seconds}]").click()
    page.locator("#refine-start").click()


def test_refine_before_the_render_answers_finds_a_match(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    held: list[Any] = []
    page.route(RENDER, lambda route: held.append(route))
    turn(page, "Filter cutoff")
    search(page, 1)
    expect(page.locator("#refine-message")).to_contain_text("Done: ")
    assert len(held) == 1
    assert page.locator("#refine-message").inner_text() == f"Done: {distance_db(page):.2f} dB"


def test_undo_during_a_search_keeps_every_step(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    matched_db = distance_db(page)
    turn(page, "Filter cutoff")
    expect(page.locator("#distance b")).not_to_have_text(f"{matched_db:.2f}")
    changed_db = distance_db(page)
    search(page, 10)
    wait_for(lambda: distance_db(page) < min(matched_db, changed_db))
    page.locator("#undo").click()
    assert page.locator("#refine-stop").is_hidden()
    expect(page.locator("#distance b")).to_have_text(f"{changed_db:.2f}")
    expect(page.locator("#history button")).to_have_count(3)
    page.locator("#undo").click()
    expect(page.locator("#distance b")).to_have_text(f"{matched_db:.2f}")
    assert page.locator("#undo").is_disabled()
    page.locator("#redo").click()
    page.locator("#redo").click()
    assert page.locator("#redo").is_disabled()
    wait_for(lambda: distance_db(page) < min(matched_db, changed_db))
    expect(page.locator("#history button")).to_have_count(3)


def test_click_on_a_knob_during_a_search_adds_no_step(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    search(page, 10)
    expect(page.locator("#refine-message")).to_contain_text("Searching: ")
    page.locator("[data-name=filter_cutoff] .dial").click()
    assert page.locator("#undo").is_disabled()
    assert page.locator("#refine-stop").is_visible()


def test_field_keeps_what_is_typed_during_a_search(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    field = page.get_by_role("textbox", name="Filter cutoff, value in Hz")
    search(page, 3)
    expect(page.locator("#refine-message")).to_contain_text("Searching: ")
    field.fill("12")
    expect(page.locator("#refine-message")).to_contain_text("Done: ")
    assert field.input_value() == "12"
    field.fill("1234")
    page.keyboard.press("Tab")
    assert slider(page, "Filter cutoff").get_attribute("aria-valuetext") == "1234 Hz"


def test_change_is_filed_under_the_sound_that_is_open(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    page.get_by_role("button", name="FM bell").click()
    expect(page.locator("#scene-title")).to_have_text("FM bell")
    page.locator("#sounds button").nth(0).click()
    expect(page.locator("#scene-title")).to_have_text("tone.wav")
    expect(page.locator("#history [aria-current=true]")).to_contain_text("tone.wav")
    turn(page, "Filter cutoff")
    expect(page.locator("#history button")).to_have_count(3)
    expect(page.locator("#history button").nth(2)).to_contain_text("tone.wav")


def test_wav_of_a_preset_that_is_not_rendered_is_not_saved(
    open_page: Callable[..., Any], tone: Path, tmp_path: Path
) -> None:
    page = open_page()
    drop(page, tone)
    page.route(RENDER, lambda route: route.fulfill(status=400, json={"error": "refused"}))
    turn(page, "Filter cutoff")
    expect(page.locator("#panel-message")).to_have_text("refused")
    page.locator("#save-sound").click()
    expect(page.locator("#save-message")).to_have_text("The sound is not rendered yet. Try again.")
    page.unroute(RENDER)
    turn(page, "Filter cutoff", "End")
    with page.expect_download() as download:
        page.locator("#save-sound").click()
    download.value.save_as(tmp_path / "match.wav")
    with wave.open(str(tmp_path / "match.wav")) as saved:
        assert saved.getnframes() == 22050
    assert page.locator("#save-message").inner_text() == ""


def test_buttons_that_are_disabled_pass_their_focus_on(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    turn(page, "Filter cutoff")
    for button in ("undo", "redo", "reset"):
        page.locator(f"#{button}").focus()
        page.keyboard.press("Enter")
        assert page.locator(f"#{button}").is_disabled()
        assert page.evaluate("document.activeElement.id") == "panel-title"


def test_start_that_failed_is_repaired_by_the_next_sound(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    answers = iter([500])

    def fail_once(route: Any) -> None:
        if next(answers, None) is None:
            route.continue_()
        else:
            route.fulfill(status=500, json={"error": "The table is missing."})

    page.wait_for_load_state("networkidle")  # or the page that is left would get the failure
    page.route("**/metadata", fail_once)
    page.reload()
    expect(page.locator("#source-message")).to_have_text("The table is missing.")
    drop(page, tone)
    assert page.locator("#scene-title").inner_text() == "tone.wav"
    assert page.locator("#source-message").inner_text() == ""


def test_token_that_no_header_can_hold_is_refused(open_page: Callable[..., Any], guarded_url: str) -> None:
    page = open_page(url=guarded_url)
    page.locator("#files").set_input_files(Path("synthray/serve/page/examples/bell.flac").resolve())
    page.locator("#token").fill("Schlüssel")
    page.locator("#token").press("Enter")
    expect(page.locator("#source-message")).to_contain_text("holds only ASCII")
    page.locator("#token").fill("open sesame")
    page.locator("#token").press("Enter")
    page.locator("#panel").wait_for()


def test_drop_next_to_the_drop_area_is_accepted(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    prevented = page.evaluate(
        """(base64) => {
          const dataTransfer = new DataTransfer();
          const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
          dataTransfer.items.add(new File([bytes], "dropped.wav"));
          const send = (name) => {
            return !document.querySelector("#session").dispatchEvent(
              new DragEvent(name, { dataTransfer, bubbles: true, cancelable: true }));
          };
          return [send("dragover"), send("drop")];
        }""",
        base64.b64encode(tone.read_bytes()).decode(),
    )
    assert prevented == [True, True]
    expect(page.locator("#scene-title")).to_have_text("dropped.wav")


def test_link_with_odd_values_is_refused_or_snaps(open_page: Callable[..., Any], tone: Path, service_url: str) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    drop(page, tone)
    page.locator("#copy-link").click()
    expect(page.locator("#save-message")).to_contain_text("copied")
    text = page.evaluate("navigator.clipboard.readText()").partition("#preset=")[2]
    preset = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    metadata = page.request.get(f"{service_url}v1/models/synthray/metadata").json()["metadata"]
    learned = [each for each in metadata["synthray"]["parameters"] if each["kind"] != "constant"]

    def changed(name: str, value: Any) -> str:
        odd = list(preset)
        odd[1 + next(i for i, each in enumerate(learned) if each["name"] == name)] = value
        return "#preset=" + base64.urlsafe_b64encode(json.dumps(odd).encode()).decode().rstrip("=")

    for value in ("length", "1", 0.5, -1, 99, None):
        refused = open_page(changed("oscillator_1_waveform", value))
        expect(refused.locator("#source-message")).to_contain_text("gives oscillator 1 waveform a value")
        refused.close()
    snapped = open_page(changed("oscillator_1_pitch", 2.4))
    snapped.locator("#panel").wait_for()
    assert slider(snapped, "Oscillator 1 pitch").get_attribute("aria-valuetext") == "2 semitones"
