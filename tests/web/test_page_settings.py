"""The page's panel: knobs, undo, history, links, and the search for a closer match."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_for
from tests.web.conftest import distance_db, drop, slider
from tests.web.test_page import expect

pytestmark = pytest.mark.web


def picture_of_match(page: Any) -> str:
    """Return the match's spectrogram, which shows which sound is heard."""
    return page.locator(".pictures canvas").nth(1).evaluate("canvas => canvas.toDataURL()")


def test_knob_changes_the_distance_and_undo_restores_it(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    empty = picture_of_match(page)
    drop(page, tone)
    wait_for(lambda: picture_of_match(page) != empty)
    before_db, picture = distance_db(page), picture_of_match(page)
    knob = slider(page, "Filter cutoff")
    text = knob.get_attribute("aria-valuetext")
    assert text.endswith(" Hz")
    knob.focus()
    page.keyboard.press("Home")
    assert knob.get_attribute("aria-valuetext") == "60.0 Hz"
    expect(page.locator("#distance b")).not_to_have_text(f"{before_db:.2f}")
    expect(page.locator("#history")).to_contain_text("filter cutoff")
    wait_for(lambda: picture_of_match(page) != picture)
    changed = picture_of_match(page)
    page.keyboard.press("Control+z")
    expect(page.locator("#distance b")).to_have_text(f"{before_db:.2f}")
    assert knob.get_attribute("aria-valuetext") == text
    wait_for(lambda: picture_of_match(page) != changed)
    page.locator("#redo").click()
    assert knob.get_attribute("aria-valuetext") == "60.0 Hz"
    page.locator("#reset").click()
    assert knob.get_attribute("aria-valuetext") == text
    assert page.locator("#reset").is_disabled()


def test_knob_keys_and_typing_set_its_value(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    knob, field = slider(page, "Filter cutoff"), page.get_by_role("textbox", name="Filter cutoff, value in Hz")
    matched = knob.get_attribute("aria-valuetext")
    field.fill("1.2k")
    field.press("Enter")
    assert knob.get_attribute("aria-valuetext") == "1200 Hz"
    field.fill("nothing")
    field.press("Enter")
    assert field.input_value() == "1200"
    knob.focus()
    page.keyboard.press("Shift+ArrowUp")
    assert knob.get_attribute("aria-valuetext") == "1205 Hz"
    page.keyboard.press("ArrowUp")
    assert knob.get_attribute("aria-valuetext") == "1260 Hz"
    page.keyboard.press("Delete")
    assert knob.get_attribute("aria-valuetext") == matched
    pitch = slider(page, "Oscillator 1 pitch")
    pitch.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")
    assert pitch.get_attribute("aria-valuetext") == "\N{MINUS SIGN}23 semitones"


def test_knob_drag_and_double_click_set_its_value(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    knob = slider(page, "Filter cutoff")
    matched = knob.get_attribute("aria-valuetext")
    dial = page.locator("[data-name=filter_cutoff] .dial")
    dial.evaluate("element => element.scrollIntoView({ block: 'center' })")
    box = dial.bounding_box()
    x, y = box["x"] + 24, box["y"] + 24
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 400, steps=4)
    page.mouse.up()
    assert knob.get_attribute("aria-valuetext") == "60.0 Hz"
    page.mouse.dblclick(x, y)
    assert knob.get_attribute("aria-valuetext") == matched


def test_inaudible_settings_say_why(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    page.locator("label[for=oscillator_1_waveform-sine]").click()
    control = page.locator("[data-name=oscillator_1_pulse_width]")
    expect(control).to_contain_text("not heard")
    note = page.locator("#oscillator_1_pulse_width-note")
    assert slider(page, "Oscillator 1 pulse width").get_attribute("aria-describedby") == note.get_attribute("id")
    assert note.inner_text().startswith("Not heard: ")
    page.locator("label[for=oscillator_1_waveform-square]").click()
    expect(control).not_to_contain_text("not heard")


def test_history_returns_to_earlier_presets(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    before_db = distance_db(page)
    slider(page, "Filter cutoff").focus()
    page.keyboard.press("Home")
    changed = page.locator("#history button").nth(1)
    expect(changed).to_contain_text("dB")
    changed_db = changed.locator(".figure").inner_text()
    page.locator("#history button").nth(0).click()
    expect(page.locator("#distance b")).to_have_text(f"{before_db:.2f}")
    changed.click()
    expect(page.locator("#distance")).to_contain_text(changed_db.split()[0])
    assert slider(page, "Filter cutoff").get_attribute("aria-valuetext") == "60.0 Hz"


def test_link_shows_the_same_preset_without_a_sound(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    drop(page, tone)
    slider(page, "Noise level").focus()
    page.keyboard.press("End")
    page.locator("#copy-link").click()
    expect(page.locator("#save-message")).to_contain_text("copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert len(link) < 600
    other = open_page(link[link.index("#") :])
    other.locator("#panel").wait_for()
    values = "all => all.map((each) => each.getAttribute('aria-valuetext'))"
    shown = [each.locator("#panel input[type=range]").evaluate_all(values) for each in (page, other)]
    assert len(shown[0]) == 31
    assert shown[0] == shown[1]
    assert other.locator("#distance b").inner_text() == "\N{EN DASH}"
    expect(other.locator("#play")).to_be_enabled()
    assert other.locator("#refine-start").is_disabled()


@pytest.mark.parametrize("fragment", ["#preset=WyI0MDdv", "#preset=%%%", "#preset=WzEsMiwzXQ", "#preset=Nw"])
def test_link_that_is_broken_says_so_in_words(open_page: Callable[..., Any], fragment: str) -> None:
    page = open_page(fragment)
    expect(page.locator("#source-message")).to_contain_text("This link")
    assert page.locator("#panel").is_hidden()


def test_command_renders_the_preset(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    drop(page, tone)
    page.locator("#copy-command").click()
    expect(page.locator("#save-message")).to_contain_text("copied")
    command = page.evaluate("navigator.clipboard.readText()")
    assert command.startswith("cat > preset.json <<'EOF'\n{")
    assert command.endswith("\nEOF\nsynthray render preset.json --out match.wav\n")


def test_search_that_is_stopped_keeps_its_last_improvement(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    before_db = distance_db(page)
    page.locator("label[for=seconds-10]").click()
    page.locator("#refine-start").click()
    while distance_db(page) == before_db:
        page.wait_for_timeout(50)
    page.locator("#refine-stop").click()
    assert page.locator("#refine-message").inner_text() == "Stopped."
    stopped_db = distance_db(page)
    assert stopped_db < before_db
    page.wait_for_timeout(1000)
    assert distance_db(page) == stopped_db
    assert page.locator("#refine-start").is_visible()
    assert page.locator("#history button").count() == 2
