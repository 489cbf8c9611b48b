"""Preset files that are opened on the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.web.conftest import distance_db, drop, slider
from tests.web.test_page import expect

pytestmark = pytest.mark.web


@pytest.fixture
def saved(open_page: Callable[..., Any], tone: Path, tmp_path: Path) -> Path:
    """Return a preset file that the page saved, with a cutoff of 60 Hz."""
    page = open_page()
    drop(page, tone)
    slider(page, "Filter cutoff").focus()
    page.keyboard.press("Home")
    with page.expect_download() as download:
        page.locator("#save-preset").click()
    file = tmp_path / "my preset.json"
    download.value.save_as(file)
    return file


def test_saved_preset_is_compared_with_the_sound_that_is_open(
    open_page: Callable[..., Any], tone: Path, saved: Path
) -> None:
    page = open_page()
    drop(page, tone)
    matched_db = distance_db(page)
    page.locator("#files").set_input_files(saved)
    expect(page.locator("#history button")).to_have_count(2)
    assert slider(page, "Filter cutoff").get_attribute("aria-valuetext") == "60.0 Hz"
    assert page.locator("#scene-title").inner_text() == "tone.wav"
    expect(page.locator("#distance b")).not_to_have_text("\N{EN DASH}")
    assert distance_db(page) != matched_db
    expect(page.locator("#history [aria-current=true]")).to_contain_text("my preset.json")
    assert page.locator("#sounds button").count() == 1
    assert page.locator("#refine-start").is_enabled()


def test_saved_preset_without_a_sound_is_shown_and_heard(open_page: Callable[..., Any], saved: Path) -> None:
    page = open_page()
    data = page.evaluate_handle(
        """(text) => {
          const data = new DataTransfer();
          data.items.add(new File([text], "my preset.json"));
          return data;
        }""",
        saved.read_text(),
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})
    expect(page.locator("#scene-title")).to_have_text("my preset.json")
    expect(page.locator("#play")).to_be_enabled()
    assert slider(page, "Filter cutoff").get_attribute("aria-valuetext") == "60.0 Hz"
    assert page.locator("#refine-start").is_disabled()


def test_json_file_that_is_no_preset_is_refused_in_words(
    open_page: Callable[..., Any], saved: Path, tmp_path: Path
) -> None:
    preset = json.loads(saved.read_text())

    def changed(name: str, entry: Any) -> str:
        return json.dumps(preset | {"parameters": preset["parameters"] | {name: entry}})

    texts = {
        "broken.json": ("{", "This file is not a preset of synthray."),
        "list.json": ("[1, 2]", "This file is not a preset of synthray."),
        "null.json": ("null", "This file is not a preset of synthray."),
        "other.json": (json.dumps({"parameters": {"filter": 1}}), "This preset is of another version"),
        "large.json": (changed("filter_cutoff", 99999), "filter cutoff a value that it cannot have (99999)"),
        "unit.json": (changed("filter_cutoff", {"value": 1, "unit": "kHz"}), "gives filter cutoff in kHz, not in Hz"),
        "choice.json": (changed("filter_type", "comb"), "filter type a value that it cannot have (comb)"),
    }
    page = open_page()
    for name, (text, words) in texts.items():
        (tmp_path / name).write_text(text)
        page.locator("#files").set_input_files(tmp_path / name)
        expect(page.locator("#source-message")).to_contain_text(f"{name}: ")
        expect(page.locator("#source-message")).to_contain_text(words)
    page.locator("#files").set_input_files([tmp_path / name for name in texts])
    expect(page.locator("#source-message")).to_contain_text("broken.json, list.json, null.json: ")
    page.locator("#files").set_input_files(saved)
    expect(page.locator("#scene-title")).to_have_text("my preset.json")
    assert page.locator("#source-message").inner_text() == ""
