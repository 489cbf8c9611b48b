"""The panel's texts: what is said about a setting, and where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_for
from tests.web.conftest import drop, slider
from tests.web.test_page import expect
from tests.web.test_page_layout import PHONE
from tests.web.test_page_refine import WATCH_SPEECH

pytestmark = pytest.mark.web


@pytest.mark.parametrize("options", [{"viewport": {"width": 1440, "height": 900}}, PHONE], ids=["desktop", "phone"])
def test_reason_why_a_setting_is_not_heard_is_in_sight(
    open_page: Callable[..., Any], tone: Path, options: dict[str, Any]
) -> None:
    page = open_page(**options)
    drop(page, tone)
    info = page.locator("#info")
    expect(info).not_to_be_in_viewport()  # covers nothing as long as it says nothing
    slider(page, "Amplitude LFO amount").focus()
    page.keyboard.press("Home")
    expect(page.locator("[data-name=amplitude_lfo_frequency]")).to_contain_text("not heard")
    page.locator("[data-name=amplitude_lfo_frequency] .dial").hover()
    expect(info).to_contain_text("Amplitude LFO frequency")
    expect(info).to_contain_text("Not heard: ")
    expect(info).to_be_in_viewport(ratio=1)


def test_text_about_a_setting_follows_its_value(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    knob = slider(page, "Filter cutoff")
    knob.focus()
    info = page.locator("#info")
    expect(info).to_contain_text(f"Filter cutoff, {knob.get_attribute('aria-valuetext')}: ")
    page.keyboard.press("Home")
    expect(info).to_contain_text("Filter cutoff, 60.0 Hz: ")
    assert "sure" not in info.inner_text()
    page.locator("#undo").click()
    expect(info).to_contain_text(f"Filter cutoff, {knob.get_attribute('aria-valuetext')}: ")


TYPED = [
    ("Filter cutoff", "1.200,5", "1201 Hz", ""),
    ("Filter cutoff", "1,200.5 hz", "1201 Hz", ""),
    ("Filter cutoff", "1,2 kHz", "1200 Hz", ""),
    ("Filter cutoff", "1,200", "1200 Hz", ""),
    ("Filter cutoff", "1.200", "1200 Hz", ""),
    ("Filter envelope attack", "5,500", "5.50 ms", ""),
    ("Filter cutoff", "99999", "5000 Hz", "“99999” is too large. Set to 5000 Hz, the largest value."),
    ("Filter cutoff", "-1", "60.0 Hz", "“-1” is too small. Set to 60.0 Hz, the smallest value."),
    ("Filter cutoff", "abc", "700 Hz", "“abc” is not a number in Hz. The value stays 700 Hz."),
    ("Filter cutoff", "300 ms", "700 Hz", "“300 ms” is not a number in Hz. The value stays 700 Hz."),
    ("Filter cutoff", "1.2.3", "700 Hz", "“1.2.3” is not a number in Hz. The value stays 700 Hz."),
    ("Filter cutoff", "", "700 Hz", "No number was typed. The value stays 700 Hz."),
    ("Oscillator 1 pitch", "-3 st", "\N{MINUS SIGN}3 semitones", ""),
    ("Oscillator 1 pitch", "2.4", "2 semitones", "“2.4” is between two steps. Set to 2 semitones."),
]


def test_typed_values_that_are_refused_or_changed_are_explained(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    page.evaluate(WATCH_SPEECH)
    for name, text, value, remark in TYPED:
        field = page.get_by_role("textbox", name=f"{name}, value in")
        field.fill("700")
        field.press("Enter")
        field.fill(text)
        field.press("Enter")
        assert (text, slider(page, name).get_attribute("aria-valuetext")) == (text, value)
        assert page.locator("#remark").all_inner_texts() == ([f"{name}: {remark}"] if remark else [])
        described = field.get_attribute("aria-describedby")
        assert described == ("remark" if remark else None)
    wait_for(lambda: "between two steps" in str(page.evaluate("window.said")))


def test_remark_is_beside_its_field_until_a_person_goes_on(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page(**PHONE)
    drop(page, tone)
    page.get_by_role("textbox", name="Filter cutoff, value in").fill("-1")
    page.keyboard.press("Tab")
    remark = page.locator("#remark")
    expect(remark).to_be_in_viewport(ratio=1)
    box, field = remark.bounding_box(), page.locator("[data-name=filter_cutoff] .typed").bounding_box()
    assert 0 <= box["y"] - (field["y"] + field["height"]) < 10
    assert remark.evaluate(
        """(element) => {
          const { left, right, bottom } = element.getBoundingClientRect();
          return [left + 2, right - 2].every((x) => document.elementFromPoint(x, bottom - 2) === element);
        }"""
    )
    page.keyboard.press("Escape")
    expect(remark).to_have_count(0)


def test_escape_restores_the_value_that_is_typed_over(open_page: Callable[..., Any], tone: Path) -> None:
    page = open_page()
    drop(page, tone)
    field = page.get_by_role("textbox", name="Filter cutoff, value in Hz")
    before = field.input_value()
    field.fill("1234")
    page.keyboard.press("Escape")
    assert field.input_value() == before
    page.keyboard.press("Tab")
    assert page.locator("#undo").is_disabled()
    assert page.locator("#remark").count() == 0
