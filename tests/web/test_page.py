"""The service's page: from a sound to a preset that is saved."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.web.conftest import distance_db, drop

pytestmark = pytest.mark.web


def expect(locator: Any) -> Any:
    from playwright.sync_api import expect

    return expect(locator)


def test_page_with_a_dropped_file_shows_its_match(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    data = page.evaluate_handle(
        """(base64) => {
          const data = new DataTransfer();
          const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
          data.items.add(new File([bytes], "dropped.wav"));
          return data;
        }""",
        base64.b64encode(tone.read_bytes()).decode(),
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})
    page.locator("#panel").wait_for()
    assert page.locator("#scene-title").inner_text() == "dropped.wav"
    assert page.locator(".knob").count() + page.locator(".choice").count() == 38
    assert 0 < distance_db(page) < 25
    assert page.locator("#play").is_enabled()
    drawn = page.locator(".pictures canvas").evaluate_all(
        "all => all.map((each) => new Set(each.getContext('2d').getImageData(0, 0, 240, 128).data).size > 50)"
    )
    assert drawn == [True, True, True]


@pytest.mark.parametrize("name", ["Synth bass", "Synth pluck", "Synth pad", "Plucked string", "FM bell", "Sung vowel"])
def test_page_with_an_example_shows_its_match(open_page: Callable[..., Any], name: str) -> None:
    page = open_page()
    page.get_by_role("button", name=name).click()
    page.locator("#panel").wait_for()
    assert page.locator("#scene-title").inner_text() == name
    assert 0 < distance_db(page) < 25


def test_page_by_keyboard_alone_leads_from_a_file_to_its_preset(
    open_page: Callable[..., Any], tone: Path, tmp_path: Path
) -> None:
    page = open_page()
    with page.expect_file_chooser() as chooser:  # from here on: Chromium needs a moment until it reports the dialog
        _tab_to(page, "files")
        page.keyboard.press("Enter")
    chooser.value.set_files(tone)
    page.locator("#panel").wait_for()
    _tab_to(page, "play")
    page.keyboard.press("Enter")
    expect(page.locator("#play")).to_have_text("Pause")
    _tab_to(page, "voice-0")
    page.keyboard.press("ArrowRight")
    assert page.locator("#voice-1").is_checked()
    _tab_to(page, "save-preset")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "tone-match.json"
    download.value.save_as(tmp_path / "preset.json")
    preset = json.loads((tmp_path / "preset.json").read_text())
    assert preset["format"] == "synthray-preset/1"
    assert len(preset["parameters"]) == 46
    assert preset["parameters"]["filter_cutoff"]["unit"] == "Hz"


def test_page_with_a_broken_file_says_so_in_words(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page()
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound at all")
    page.locator("#files").set_input_files(broken)
    message = page.locator("#source-message.error")
    expect(message).to_contain_text("broken.wav: ")
    assert len(message.inner_text()) > 25
    assert page.get_by_role("alert").filter(has_text="broken.wav").count() == 1
    expect(page.locator("#sounds")).to_contain_text("try again")
    assert page.locator("#panel").is_hidden()


def test_page_with_several_files_lists_and_shows_each(
    open_page: Callable[..., Any], tone: Path, tmp_path: Path
) -> None:
    page = open_page()
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound at all")
    examples = Path("synthray/serve/page/examples").resolve()
    page.locator("#files").set_input_files([tone, broken, examples / "bell.flac"])
    expect(page.locator("#sounds .figure").nth(2)).to_contain_text("dB")
    assert page.locator("#scene-title").inner_text() == "tone.wav"
    assert page.locator("#sounds .figure").nth(1).inner_text() == "try again"
    page.locator("#sounds button").nth(2).click()
    expect(page.locator("#scene-title")).to_have_text("bell.flac")
    assert page.locator("#sounds [aria-current=true]").inner_text().startswith("bell.flac")


def test_page_saves_the_wav_that_is_heard(open_page: Callable[..., Any], tone: Path, tmp_path: Path) -> None:
    page = open_page()
    drop(page, tone)
    with page.expect_download() as download:
        page.locator("#save-sound").click()
    download.value.save_as(tmp_path / "match.wav")
    assert (tmp_path / "match.wav").stat().st_size == 44 + 2 * 22050


def _tab_to(page: Any, identity: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == identity:
            return
    raise AssertionError(f"Tab does not reach {identity}")
